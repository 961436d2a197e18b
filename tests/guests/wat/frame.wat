;; A connector around core modules that are written by hand: `describe`, and one of `sink` and `source`.
;; What a component exports must have a name for each of its types, so they are exported one by one, in the order in which they
;; need each other.
;;
;; `tests/support/frame.rs` puts text where these stand:
;;   {outside} {imports} {passed} {lowered} {host}   what the body imports of the host: as what the component imports and has for
;;                                         it, as the inner component's imports, as they are handed on to it, as core functions,
;;                                         and as what the body's "host" exports
;;   {describer} {libc} {body}             core modules' fields
;;   {interface} {export}                  `sink.wat` or `source.wat`, and which; and in it the canonical options of its function:
;;   {memory} {realloc} {post-return}
(component
  {outside}

  (component $describes
    (core module $describer
{describer}
    )
    (core instance $describer (instantiate $describer))
    (type $header-slot-of (record (field "name" string) (field "prefix" string)))
    (export $header-slot "header-slot" (type $header-slot-of))
    (type $aws-scope-of (record (field "region" string) (field "service" string)))
    (export $aws-scope "aws-scope" (type $aws-scope-of))
    (type $credential-slot-of (variant
      (case "none") (case "bearer") (case "basic") (case "header" $header-slot) (case "query" string)
      (case "oauth2" (list string)) (case "hmac-sha256" $header-slot) (case "standard-webhooks") (case "hmac")
      (case "aws-sigv4" $aws-scope)))
    (export $credential-slot "credential-slot" (type $credential-slot-of))
    (type $inbound-request-scheme-of (enum
      "github" "standard-webhooks" "slack" "stripe" "shopify" "twilio" "hmac-sha256" "basic" "bearer" "none"))
    (export $inbound-request-scheme "inbound-request-scheme" (type $inbound-request-scheme-of))
    (type $upstream-request-of (record
      (field "name" string) (field "base-url" (option string)) (field "reason" string) (field "methods" (list string))
      (field "path-prefixes" (list string)) (field "credential" $credential-slot)))
    (export $upstream-request "upstream-request" (type $upstream-request-of))
    (type $descriptor-of (record
      (field "name" string) (field "version" string) (field "summary" string) (field "settings-schema" string)
      (field "upstreams" (list $upstream-request)) (field "inbound" (option $inbound-request-scheme))
      (field "consumes" (list string)) (field "produces" (list string)) (field "wants-state" bool)
      (field "poll-every-s" (option u32))))
    (export $descriptor "descriptor" (type $descriptor-of))
    (func $describe (result $descriptor)
      (canon lift (core func $describer "describe") (memory $describer "memory")))
    (export "describe" (func $describe)))
  (instance $describes (instantiate $describes))
  (export "cofferdam:connector/describe@0.1.0" (instance $describes))

  (component $behaves
    {imports}
    (core module $libc
{libc}
    )
    (core instance $libc (instantiate $libc))
    (type $handle (resource (rep i32)))
    {lowered}
    (core instance $host {host})
    (core module $body
{body}
    )
    (core instance $body (instantiate $body (with "libc" (instance $libc)) (with "host" (instance $host))))
{interface}
  )
  (instance $behaves (instantiate $behaves {passed}))
  (export "cofferdam:connector/{export}@0.1.0" (instance $behaves))
)
