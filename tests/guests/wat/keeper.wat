;; A component beside the one that misbehaves: it is lent a resource of the host, and does not give it back.
(component $keeper
  (import "fields" (type $lent (sub resource)))
  (core module $keeps (func (export "keep") (param i32)))
  (core instance $keeps (instantiate $keeps))
  (func (export "keep") (param "fields" (borrow $lent))
    (canon lift (core func $keeps "keep"))))
(instance $keeper (instantiate $keeper (with "fields" (type $fields))))
