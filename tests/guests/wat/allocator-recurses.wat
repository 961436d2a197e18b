(func $again (export "realloc") (param i32 i32 i32 i32) (result i32)
  (i32.add (i32.const 1)
    (call $again (local.get 0) (local.get 1) (local.get 2) (local.get 3))))
(func (export "deliver") (param i32) (result i32) (i32.const 16))
