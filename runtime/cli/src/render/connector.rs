//! What a connector says about itself and asks for, in the words of the admin who decides about it.

use cofferdam_domain::descriptor::UpstreamRequest;
use cofferdam_domain::{CredentialSlot, Descriptor, Digest, InboundScheme};
use cofferdam_host::Exports;

use super::text::printable;
use crate::paint::Paint;

/// A connector and the file it is from.
pub(crate) fn connector(
    descriptor: &Descriptor,
    exports: Exports,
    file: &str,
    component: (Digest, u64),
    paint: Paint,
) -> String {
    let (digest, bytes) = component;
    let origin = format!(
        "{} · {} KiB · sha256 {}",
        printable(file),
        bytes.div_ceil(1024),
        digest.short()
    );
    let mut text = format!(
        "{} {}  {}\n  {}\n",
        paint.bold(descriptor.name.as_str()),
        descriptor.version,
        paint.dim(&origin),
        printable(&descriptor.summary),
    );
    let mut line = |name: &str, value: &str| text.push_str(&format!("  {name:<18}{}\n", printable(value)));
    line("does", &duties(exports));
    if exports.sink {
        line("takes events", &consumed(descriptor));
    }
    if !descriptor.produces.is_empty() {
        line("makes events", &descriptor.produces.join(", "));
    }
    if let Some(scheme) = &descriptor.inbound {
        let words = match descriptor.inbound_scheme() {
            Some(InboundScheme::None) => "requests that nobody signs; a connection must say so".to_owned(),
            Some(scheme) => format!(
                "requests {} ({scheme}); the host checks, with a secret of yours",
                scheme.in_words()
            ),
            None => format!("requests signed as {scheme}, which this version cannot check"),
        };
        line("takes in", &words);
    }
    line("settings", &settings(&descriptor.settings_schema));
    line("keeps state", if descriptor.wants_state { "asks for it" } else { "no" });
    if let Some(seconds) = descriptor.poll_every_s {
        line("schedule", &format!("asks to run every {seconds} s"));
    }
    line(
        "calls",
        if descriptor.upstreams.is_empty() {
            "nothing outside"
        } else {
            "only these, and each only if you grant it:"
        },
    );
    for upstream in &descriptor.upstreams {
        text.push_str(&asked(upstream, paint));
    }
    text
}

fn duties(exports: Exports) -> String {
    let duties = [
        (exports.sink, "delivers events"),
        (exports.source, "turns incoming requests into events"),
        (exports.poller, "asks for news on a schedule"),
    ];
    let done: Vec<_> = duties
        .into_iter()
        .filter_map(|(does, duty)| does.then_some(duty))
        .collect();
    done.join(", ")
}

fn consumed(descriptor: &Descriptor) -> String {
    let patterns: Vec<_> = descriptor.consumes.iter().map(ToString::to_string).collect();
    if patterns.is_empty() {
        "of any type".to_owned()
    } else {
        patterns.join(", ")
    }
}

/// The names of the settings, as its JSON Schema lists them.
fn settings(schema: &serde_json::Value) -> String {
    let required: Vec<_> = schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(serde_json::Value::as_str)
        .collect();
    let names = schema["properties"].as_object().into_iter().flatten().map(|(name, _)| {
        if required.contains(&name.as_str()) {
            format!("{name} (required)")
        } else {
            name.clone()
        }
    });
    let names: Vec<_> = names.collect();
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}

fn asked(upstream: &UpstreamRequest, paint: Paint) -> String {
    let base = upstream
        .base_url
        .as_ref()
        .map_or("an address that you give", |url| url.as_str());
    let below = match upstream.path_prefixes.as_slice() {
        [] => "any path".to_owned(),
        prefixes => format!("paths below {}", prefixes.join(", ")),
    };
    let lines = [
        upstream.reason.clone(),
        format!("{} · {below}", upstream.methods.join(", ")),
        format!("credential: {}", attached(&upstream.credential)),
    ];
    let mut text = format!("    {}  {}\n", paint.bold(upstream.name.as_str()), printable(base));
    for line in lines {
        text.push_str(&format!("      {}\n", printable(&line)));
    }
    text
}

/// How the host uses the credential. The connector never has it.
fn attached(slot: &CredentialSlot) -> String {
    let behind = |prefix: &str| {
        if prefix.is_empty() {
            String::new()
        } else {
            format!(", behind `{prefix}`")
        }
    };
    match slot {
        CredentialSlot::None => "none".to_owned(),
        CredentialSlot::Bearer => "a token, sent as `Authorization: Bearer …`".to_owned(),
        CredentialSlot::Basic => "user:password, sent as `Authorization: Basic …`".to_owned(),
        CredentialSlot::Header { name, prefix } => format!("a secret, sent in the header {name}{}", behind(prefix)),
        CredentialSlot::Query(name) => format!("a secret, sent as the query parameter {name}"),
        CredentialSlot::OAuth2(scopes) if scopes.is_empty() => "a token that the host obtains by OAuth 2.0".to_owned(),
        CredentialSlot::OAuth2(scopes) => {
            format!("a token that the host obtains by OAuth 2.0, for {}", scopes.join(", "))
        }
        CredentialSlot::HmacSha256 { name, prefix } => {
            format!(
                "a secret that signs the body; the signature goes into the header {name}{}",
                behind(prefix)
            )
        }
        CredentialSlot::StandardWebhooks => {
            "a secret that signs the body (Standard Webhooks); it is never sent".to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slack() -> Descriptor {
        let upstream = UpstreamRequest {
            name: "slack".parse().unwrap(),
            base_url: Some("https://slack.com/api".parse().unwrap()),
            reason: "Posts the messages.\u{1b}[2J".to_owned(),
            methods: vec!["POST".to_owned()],
            path_prefixes: vec!["/chat.postMessage".to_owned()],
            credential: CredentialSlot::Bearer,
        };
        Descriptor {
            name: "slack".parse().unwrap(),
            version: "0.1.0".parse().unwrap(),
            summary: "Posts events to a Slack channel.".to_owned(),
            settings_schema: serde_json::json!({
                "type": "object", "required": ["channel"], "properties": { "channel": {}, "username": {} }
            }),
            upstreams: vec![upstream],
            inbound: None,
            consumes: Vec::new(),
            produces: Vec::new(),
            wants_state: false,
            poll_every_s: None,
        }
    }

    #[test]
    fn what_a_connector_asks_for_reads_as_sentences() {
        let exports = Exports {
            sink: true,
            source: false,
            poller: false,
        };
        let text = connector(
            &slack(),
            exports,
            "slack.wasm",
            (Digest::of(b"x"), 61_000),
            Paint::Plain,
        );
        let expected = "\
slack 0.1.0  slack.wasm · 60 KiB · sha256 2d711642b726
  Posts events to a Slack channel.
  does              delivers events
  takes events      of any type
  settings          channel (required), username
  keeps state       no
  calls             only these, and each only if you grant it:
    slack  https://slack.com/api
      Posts the messages.\u{fffd}[2J
      POST · paths below /chat.postMessage
      credential: a token, sent as `Authorization: Bearer …`
";
        assert_eq!(text, expected);
    }

    #[test]
    fn every_slot_says_where_the_secret_goes() {
        for (slot, expected) in [
            ("none", "none"),
            ("basic", "Basic"),
            ("header x-api-key", "the header x-api-key"),
            ("header authorization token ", "behind `token `"),
            ("query key", "query parameter key"),
            ("oauth2", "OAuth 2.0"),
            ("oauth2 a b", "for a, b"),
            ("hmac-sha256 x-signature sha256=", "behind `sha256=`"),
            ("standard-webhooks", "never sent"),
        ] {
            let words = attached(&slot.parse().unwrap());
            assert!(words.contains(expected), "{slot}: {words}");
        }
    }
}
