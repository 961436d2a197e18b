//! What a connector asks for, in the form in which two versions of it are compared, and what an admin has granted of that.
//!
//! Of a descriptor only that counts which a connection's file may leave to it: methods, paths, where a credential goes, and that
//! there is an upstream, a state or a schedule at all. Base URLs are always the admin's, and event types that a connector says
//! it takes or makes bind nobody, so they are no reason to wait.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::connection::CredentialSlot;
use crate::descriptor::{Descriptor, UpstreamRequest};
use crate::hash::Digest;
use crate::id::UpstreamName;

/// Most digests that one connection remembers as granted earlier, and most that it remembers as refused; the oldest go first.
pub const DECIDED_MAX: usize = 16;

/// What a connector asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asks {
    /// Outside services.
    pub upstreams: BTreeMap<UpstreamName, UpstreamAsks>,
    /// The signature scheme that it expects of incoming requests.
    pub inbound: Option<String>,
    /// To keep something between calls.
    pub state: bool,
    /// To be polled, and how often, in seconds.
    pub poll_every_s: Option<u32>,
}

/// What a connector asks for at one outside service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpstreamAsks {
    /// Methods.
    pub methods: BTreeSet<String>,
    /// Path prefixes; empty means any path.
    pub path_prefixes: BTreeSet<String>,
    /// Where the credential goes.
    pub credential: CredentialSlot,
}

/// What an admin has decided about the versions of a connection's connector.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// What the version asked for that was granted last; none of a connection that was applied before this was kept.
    #[serde(default)]
    pub asks: Option<Asks>,
    /// The key that had signed that version.
    #[serde(default)]
    pub signer: Option<String>,
    /// Other digests that were granted and not refused since; the latest first.
    #[serde(default)]
    pub earlier: Vec<Digest>,
    /// Digests that were refused; the latest first.
    #[serde(default)]
    pub refused: Vec<Digest>,
}

impl Asks {
    /// What this descriptor asks for.
    pub fn of(descriptor: &Descriptor) -> Self {
        let upstreams = descriptor.upstreams.iter();
        Self {
            upstreams: upstreams
                .map(|asked| (asked.name.clone(), UpstreamAsks::of(asked)))
                .collect(),
            inbound: descriptor.inbound.clone(),
            state: descriptor.wants_state,
            poll_every_s: descriptor.poll_every_s,
        }
    }

    /// Everything that is asked for here and not there, each as a sentence; empty if this asks for no more.
    pub fn beyond(&self, granted: &Self) -> Vec<String> {
        let mut more = Vec::new();
        for (name, asks) in &self.upstreams {
            match granted.upstreams.get(name) {
                None => more.push(format!("upstream {name}: {}", asks.in_words())),
                Some(granted) => asks.beyond(granted, name, &mut more),
            }
        }
        if let Some(scheme) = &self.inbound
            && granted.inbound.as_ref() != Some(scheme)
        {
            more.push(format!("incoming requests by the scheme {scheme}"));
        }
        if self.state && !granted.state {
            more.push("state that is kept between calls".to_owned());
        }
        if let Some(every) = self.poll_every_s
            && granted.poll_every_s.is_none_or(|granted| every < granted)
        {
            more.push(format!("to be polled every {every} s"));
        }
        more
    }
}

impl UpstreamAsks {
    fn of(asked: &UpstreamRequest) -> Self {
        Self {
            methods: asked.methods.iter().cloned().collect(),
            path_prefixes: asked.path_prefixes.iter().cloned().collect(),
            credential: asked.credential.clone(),
        }
    }

    fn in_words(&self) -> String {
        format!(
            "{} of {}, credential `{}`",
            listed(&self.methods),
            if self.path_prefixes.is_empty() {
                "any path".to_owned()
            } else {
                listed(&self.path_prefixes)
            },
            self.credential
        )
    }

    fn beyond(&self, granted: &Self, name: &UpstreamName, more: &mut Vec<String>) {
        for method in self.methods.difference(&granted.methods) {
            more.push(format!("upstream {name}: the method {method}"));
        }
        if !granted.path_prefixes.is_empty() {
            if self.path_prefixes.is_empty() {
                more.push(format!("upstream {name}: any path"));
            }
            for prefix in &self.path_prefixes {
                if !granted.path_prefixes.iter().any(|granted| covers(granted, prefix)) {
                    more.push(format!("upstream {name}: paths under {prefix}"));
                }
            }
        }
        match (&self.credential, &granted.credential) {
            // Without a credential it can do less.
            (CredentialSlot::None, _) => {}
            (CredentialSlot::OAuth2(scopes), CredentialSlot::OAuth2(granted)) => {
                for scope in scopes.iter().filter(|scope| !granted.contains(scope)) {
                    more.push(format!("upstream {name}: the scope {scope}"));
                }
            }
            (asked, granted) if asked == granted => {}
            (asked, _) => more.push(format!("upstream {name}: a credential attached as `{asked}`")),
        }
    }
}

impl Grant {
    /// After `digest`, signed by `signer`, was granted in the place of `before`.
    #[must_use]
    pub fn granting(&self, digest: Digest, before: Option<Digest>, asks: Asks, signer: Option<String>) -> Self {
        let earlier = before.into_iter().chain(self.earlier.iter().copied());
        Self {
            asks: Some(asks),
            signer,
            earlier: first(earlier.filter(|earlier| *earlier != digest)),
            refused: self
                .refused
                .iter()
                .copied()
                .filter(|refused| *refused != digest)
                .collect(),
        }
    }

    /// After `digest` was refused.
    #[must_use]
    pub fn refusing(&self, digest: Digest) -> Self {
        let others = self.refused.iter().copied().filter(|other| *other != digest);
        Self {
            earlier: self
                .earlier
                .iter()
                .copied()
                .filter(|earlier| *earlier != digest)
                .collect(),
            refused: first(std::iter::once(digest).chain(others)),
            ..self.clone()
        }
    }
}

/// The first of them, each once.
fn first(digests: impl Iterator<Item = Digest>) -> Vec<Digest> {
    let mut kept: Vec<Digest> = Vec::new();
    for digest in digests {
        if kept.len() < DECIDED_MAX && !kept.contains(&digest) {
            kept.push(digest);
        }
    }
    kept
}

/// Whether every path under `prefix` is under `granted`: as the gate reads prefixes, which end at a segment's border.
fn covers(granted: &str, prefix: &str) -> bool {
    prefix
        .strip_prefix(granted)
        .is_some_and(|rest| rest.is_empty() || granted.ends_with('/') || rest.starts_with('/'))
}

fn listed(items: &BTreeSet<String>) -> String {
    items.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
