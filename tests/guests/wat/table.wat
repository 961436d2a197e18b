;; Grows a table step by step, until it gets no more.
(table $t 0 funcref)
(func (export "deliver") (param i32) (result i32)
  (loop $on (br_if $on (i32.ne (table.grow $t (ref.null func) (i32.const 1000)) (i32.const -1))))
  (unreachable))
