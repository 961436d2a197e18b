;; Asks for nearly 4 GiB at once.
(memory (export "memory") 1)
(func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
(func (export "deliver") (param i32) (result i32)
  (memory.grow (i32.const 65000)))
