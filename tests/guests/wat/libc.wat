;; Memory and an allocator that only goes up, for bodies that are about neither.
(memory (export "memory") 1)
(global $next (mut i32) (i32.const 1024))
(func (export "realloc") (param $old i32) (param $old-size i32) (param $align i32) (param $size i32) (result i32)
  (local $at i32)
  (local.set $at
    (i32.and
      (i32.add (global.get $next) (i32.sub (local.get $align) (i32.const 1)))
      (i32.sub (i32.const 0) (local.get $align))))
  (global.set $next (i32.add (local.get $at) (local.get $size)))
  (loop $more
    (if (i32.gt_u (global.get $next) (i32.shl (memory.size) (i32.const 16)))
      (then
        (if (i32.eq (memory.grow (i32.const 1)) (i32.const -1)) (then (unreachable)))
        (br $more))))
  (memory.copy (local.get $at) (local.get $old) (local.get $old-size))
  (local.get $at))
