;; Drops a handle that it never had.
(import "host" "drop-handle" (func $drop (param i32)))
(func (export "deliver") (param i32) (result i32)
  (call $drop (i32.const 12345))
  (unreachable))
