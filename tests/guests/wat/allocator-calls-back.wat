;; Calls the host while the host is handing it something.
(import "libc" "memory" (memory 1))
(import "host" "exists" (func $exists (param i32 i32) (result i32)))
(func (export "realloc") (param i32 i32 i32 i32) (result i32)
  (drop (call $exists (i32.const 0) (i32.const 0)))
  (i32.const 1024))
(func (export "deliver") (param i32) (result i32) (i32.const 16))
