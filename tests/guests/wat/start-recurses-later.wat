;; The same, and recurses.
(import "host" "now" (func $now (result i64)))
(func $down (result i32) (i32.add (i32.const 1) (call $down)))
(func $start
  (if (i64.ne (call $now) (call $now)) (then (drop (call $down)))))
(start $start)
(func (export "deliver") (param i32) (result i32) (i32.const 16))
