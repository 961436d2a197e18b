;; Behaves while it is looked at: in `describe` the clock stands still. Once it goes, the start function never ends.
(import "host" "now" (func $now (result i64)))
(func $start
  (if (i64.ne (call $now) (call $now)) (then (loop $on (br $on)))))
(start $start)
(func (export "deliver") (param i32) (result i32) (i32.const 16))
