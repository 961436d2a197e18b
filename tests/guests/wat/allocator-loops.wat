(func (export "realloc") (param i32 i32 i32 i32) (result i32) (loop $on (br $on)) (unreachable))
(func (export "deliver") (param i32) (result i32) (i32.const 16))
