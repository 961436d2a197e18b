;; cofferdam:connector/sink: its types, in the order in which they need each other, and its function.
(type $event-of (record
  (field "id" string) (field "correlation-id" string) (field "type" string) (field "source" string)
  (field "subject" (option string)) (field "time" (option u64)) (field "received-at" u64)
  (field "data-content-type" string) (field "data-schema" (option string))
  (field "extensions" (list (tuple string string))) (field "data" (list u8))))
(export $event "event" (type $event-of))
(type $attempt-of (record (field "number" u32) (field "idempotency-key" string) (field "deadline" u64)))
(export $attempt "attempt" (type $attempt-of))
(type $expected-confirmation-of (record (field "key" string) (field "within-ms" u64)))
(export $expected-confirmation "expected-confirmation" (type $expected-confirmation-of))
(type $receipt-of (record
  (field "external-id" (option string)) (field "summary" (option string))
  (field "confirmation" (option $expected-confirmation))))
(export $receipt "receipt" (type $receipt-of))
(type $failure-kind-of (enum
  "auth" "rate-limited" "dependency" "invalid" "data-quality" "configuration" "gone"))
(export $failure-kind "failure-kind" (type $failure-kind-of))
(type $failure-of (record
  (field "kind" $failure-kind) (field "code" (option string)) (field "message" string)
  (field "retry-after-ms" (option u64))))
(export $failure "failure" (type $failure-of))
(func $deliver (param "event" $event) (param "attempt" $attempt) (result (result $receipt (error $failure)))
  (canon lift (core func $body "deliver") {memory} {realloc} {post-return}))
(export "deliver" (func $deliver))
