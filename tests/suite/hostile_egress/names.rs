//! A resolver with a script: the nth lookup of a name gets the nth answer.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};

use cofferdam_egress::{Lookup, Resolver};

/// An answer that never comes.
pub(crate) const NEVER: &[&str] = &["never"];

/// The names of one case.
pub(crate) struct Names {
    known: Vec<(&'static str, Vec<&'static [&'static str]>)>,
    asked: Mutex<Vec<String>>,
    lookups: AtomicUsize,
}

impl Names {
    pub(crate) fn new(known: Vec<(&'static str, Vec<&'static [&'static str]>)>) -> Self {
        Self {
            known,
            asked: Mutex::default(),
            lookups: AtomicUsize::new(0),
        }
    }

    /// How often anything was looked up.
    pub(crate) fn lookups(&self) -> usize {
        self.lookups.load(Ordering::SeqCst)
    }

    /// The answer to this lookup.
    fn next(&self, host: &str) -> Option<&'static [&'static str]> {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let nth = asked.iter().filter(|earlier| *earlier == host).count();
        asked.push(host.to_owned());
        let (_, answers) = self.known.iter().find(|(name, _)| *name == host)?;
        answers.get(nth).or(answers.last()).copied()
    }
}

impl Resolver for Names {
    fn lookup<'a>(&'a self, host: &'a str, port: u16) -> Lookup<'a> {
        self.lookups.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move {
            let Some(answer) = self.next(host) else {
                return Err(io::Error::other(format!("{host} is not known")));
            };
            if answer == NEVER {
                return std::future::pending().await;
            }
            let addresses = answer.iter().map(|text| {
                let ip: IpAddr = text.parse().expect("a case names addresses");
                SocketAddr::new(ip, port)
            });
            Ok(addresses.collect())
        })
    }
}
