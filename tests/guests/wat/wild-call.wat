;; Calls a function by another type than it has.
(type $other (func (param i64 i64) (result i64)))
(table 1 funcref)
(elem (i32.const 0) $deliver)
(func $deliver (export "deliver") (param i32) (result i32)
  (i32.wrap_i64 (call_indirect (type $other) (i64.const 0) (i64.const 0) (i32.const 0))))
