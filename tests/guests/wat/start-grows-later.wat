;; The same, and takes all the memory that there is.
(import "host" "now" (func $now (result i64)))
(memory (export "memory") 1)
(func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
(func $start
  (if (i64.ne (call $now) (call $now))
    (then (loop $on (br_if $on (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) (unreachable))))
(start $start)
(func (export "deliver") (param i32) (result i32) (i32.const 16))
