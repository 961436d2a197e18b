(func (export "realloc") (param i32 i32 i32 i32) (result i32) (unreachable))
(func (export "deliver") (param i32) (result i32) (i32.const 16))
