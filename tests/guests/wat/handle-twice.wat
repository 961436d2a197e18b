;; Drops a handle twice.
(import "host" "new-handle" (func $new (param i32) (result i32)))
(import "host" "drop-handle" (func $drop (param i32)))
(func (export "deliver") (param i32) (result i32)
  (local $handle i32)
  (local.set $handle (call $new (i32.const 7)))
  (call $drop (local.get $handle))
  (call $drop (local.get $handle))
  (unreachable))
