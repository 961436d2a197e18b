;; Answers every allocation with an address behind its memory.
(import "libc" "memory" (memory 1))
(func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 0xfffffff0))
(func (export "deliver") (param i32) (result i32) (i32.const 16))
