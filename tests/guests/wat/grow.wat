;; Takes memory page by page and writes to each, until it gets none.
(memory (export "memory") 1)
(func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
(func (export "deliver") (param i32) (result i32)
  (local $page i32)
  (loop $on
    (local.set $page (memory.grow (i32.const 1)))
    (if (i32.eq (local.get $page) (i32.const -1)) (then (unreachable)))
    (i32.store (i32.shl (local.get $page) (i32.const 16)) (i32.const 1))
    (br $on))
  (unreachable))
