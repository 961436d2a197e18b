;; cofferdam:connector/source: its types, in the order in which they need each other, and its function.
(type $inbound-request-of (record
  (field "method" string) (field "path" string) (field "query" string)
  (field "headers" (list (tuple string (list u8)))) (field "body" (list u8))))
(export $inbound-request "inbound-request" (type $inbound-request-of))
(type $event-draft-of (record
  (field "type" string) (field "source" string) (field "subject" (option string)) (field "time" (option u64))
  (field "data-content-type" string) (field "data-schema" (option string))
  (field "extensions" (list (tuple string string))) (field "data" (list u8)) (field "dedupe-key" (option string))))
(export $event-draft "event-draft" (type $event-draft-of))
(type $immediate-reply-of (record (field "status" u16) (field "content-type" string) (field "body" (list u8))))
(export $immediate-reply "immediate-reply" (type $immediate-reply-of))
(type $accepted-of (record (field "events" (list $event-draft)) (field "reply" (option $immediate-reply))))
(export $accepted "accepted" (type $accepted-of))
(type $rejection-of (record (field "code" (option string)) (field "message" string)))
(export $rejection "rejection" (type $rejection-of))
(func $receive (param "request" $inbound-request) (result (result $accepted (error $rejection)))
  (canon lift (core func $body "receive") {memory} {realloc} {post-return}))
(export "receive" (func $receive))
