;; Hands the host a string that is not UTF-8.
(import "libc" "memory" (memory 1))
(import "host" "exists" (func $exists (param i32 i32) (result i32)))
(data (i32.const 16) "\ff\fe\c0\80")
(func (export "deliver") (param i32) (result i32)
  (call $exists (i32.const 16) (i32.const 4)))
