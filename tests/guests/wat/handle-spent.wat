;; Hands the host the same headers for a second request, which the first one has taken: its handle is that of the first request
;; by then.
(import "host" "new-fields" (func $new (result i32)))
(import "host" "new-request" (func $request (param i32) (result i32)))
(func (export "deliver") (param i32) (result i32)
  (local $fields i32)
  (local.set $fields (call $new))
  (drop (call $request (local.get $fields)))
  (drop (call $request (local.get $fields)))
  (unreachable))
