;; Lends a resource of the host to a component that keeps it when the call is over.
(import "host" "new-fields" (func $new (result i32)))
(import "host" "keep" (func $keep (param i32)))
(func (export "deliver") (param i32) (result i32)
  (call $keep (call $new))
  (unreachable))
