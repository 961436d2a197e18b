;; Looks for anything that an earlier call may have left, in 8 MiB of memory, in a table and in globals, and then leaves as much
;; as it can. Where it finds something it traps.
(memory (export "memory") 1)
(global $memo (mut i64) (i64.const 0))
(global $next (mut i32) (i32.const 0))
(table $t 8 funcref)
(elem declare func $mark)
(func $mark)
;; What the host hands over lies in front, up to 60 KiB of it.
(func (export "realloc") (param $old i32) (param $old-size i32) (param $align i32) (param $size i32) (result i32)
  (local $at i32)
  (local.set $at
    (i32.and (i32.add (global.get $next) (i32.const 15)) (i32.const -16)))
  (global.set $next (i32.add (local.get $at) (local.get $size)))
  (if (i32.gt_u (global.get $next) (i32.const 61440)) (then (unreachable)))
  (i32.add (local.get $at) (i32.const 1024)))
(func $memory-is-clean
  (local $at i32)
  (if (i32.eq (memory.grow (i32.const 127)) (i32.const -1)) (then (unreachable)))
  (local.set $at (i32.const 65536))
  (loop $on
    (if (i64.ne (i64.load (local.get $at)) (i64.const 0)) (then (unreachable)))
    (i64.store (local.get $at) (i64.const 0x6c6566742062794d))
    (local.set $at (i32.add (local.get $at) (i32.const 8)))
    (br_if $on (i32.lt_u (local.get $at) (i32.const 8388608)))))
(func $table-is-clean
  (local $at i32)
  (if (i32.eq (table.grow $t (ref.null func) (i32.const 1000)) (i32.const -1)) (then (unreachable)))
  (loop $on
    (if (i32.eqz (ref.is_null (table.get $t (local.get $at)))) (then (unreachable)))
    (table.set $t (local.get $at) (ref.func $mark))
    (local.set $at (i32.add (local.get $at) (i32.const 1)))
    (br_if $on (i32.lt_u (local.get $at) (i32.const 1008)))))
(func (export "deliver") (param i32) (result i32)
  (if (i64.ne (global.get $memo) (i64.const 0)) (then (unreachable)))
  (global.set $memo (i64.const -1))
  (call $memory-is-clean)
  (call $table-is-clean)
  (i32.const 16))
