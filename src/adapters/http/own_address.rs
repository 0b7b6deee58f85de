//! Which addresses are this host's own.
//!
//! An address of any interface is reached directly, whether it is written as
//! numbers or as a name: a proxy would be shown a key that need not leave the
//! host. A name is looked up only where a proxy is in force, within
//! [`LOOKUP_TIMEOUT`], and not again within [`REMEMBERED`]; one that is not found
//! goes to the proxy, which may know it.
//!
//! The answer for a name may be another one a moment later. So what is
//! sent directly because of a name connects to nothing but addresses of this
//! host: [`OnlyOwn`].

use std::collections::HashMap;
use std::error::Error;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::sync::Mutex;
use std::time::Duration;

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::time::Instant;

use crate::config::is_loopback;
use crate::domain::parallel::lock;

/// How long a request waits to learn where a name leads.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(2);
/// How long that is taken to be so.
const REMEMBERED: Duration = Duration::from_secs(60);

/// Finds the addresses of a name.
pub(super) type Lookup = fn(&str) -> io::Result<Vec<IpAddr>>;

/// Which names lead to this host.
pub(super) struct OwnHosts {
    has_proxy: bool,
    lookup: Lookup,
    known: Mutex<HashMap<String, (bool, Instant)>>,
}

impl OwnHosts {
    pub(super) fn new(has_proxy: bool, lookup: Lookup) -> Self {
        Self { has_proxy, lookup, known: Mutex::default() }
    }

    /// Whether a request to this address goes to this host itself, and so without a proxy.
    pub(super) async fn leads_here(&self, url: &Url) -> bool {
        if is_loopback(url) || is_own_address(url) {
            return true;
        }
        let host = url.host_str().unwrap_or_default();
        if !self.has_proxy || host.is_empty() || as_ip(host).is_some() {
            return false;
        }
        let now = Instant::now();
        let known = lock(&self.known).get(host).copied();
        if let Some((leads_here, at)) = known
            && now < at + REMEMBERED
        {
            return leads_here;
        }
        let (name, lookup) = (host.to_owned(), self.lookup);
        let found = tokio::task::spawn_blocking(move || lookup(&name));
        let found = tokio::time::timeout(LOOKUP_TIMEOUT, found).await;
        let addresses = found.ok().and_then(Result::ok).and_then(Result::ok).unwrap_or_default();
        let leads_here = addresses.into_iter().any(is_own);
        lock(&self.known).insert(host.to_owned(), (leads_here, now));
        leads_here
    }
}

/// Resolves names to addresses of this host alone.
pub(super) struct OnlyOwn(pub(super) Lookup);

impl Resolve for OnlyOwn {
    fn resolve(&self, name: Name) -> Resolving {
        let lookup = self.0;
        Box::pin(async move {
            let name = name.as_str().to_owned();
            let found = tokio::task::spawn_blocking(move || lookup(&name)).await;
            let found = found.map_err(Box::<dyn Error + Send + Sync>::from)??;
            let own: Vec<_> = found.into_iter().filter(|address| is_own(*address)).collect();
            if own.is_empty() {
                let message = "the name no longer leads to an address of this host";
                return Err(io::Error::new(ErrorKind::AddrNotAvailable, message).into());
            }
            Ok(Box::new(own.into_iter().map(|address| SocketAddr::from((address, 0)))) as Addrs)
        })
    }
}

/// Finds the addresses of a name as every program of this host does.
pub(super) fn system_lookup(name: &str) -> io::Result<Vec<IpAddr>> {
    Ok((name, 0).to_socket_addrs()?.map(|address| address.ip()).collect())
}

/// Whether an address is written as one of this host's own, on any interface.
pub(super) fn is_own_address(url: &Url) -> bool {
    url.host_str().and_then(as_ip).is_some_and(is_own)
}

fn as_ip(host: &str) -> Option<IpAddr> {
    host.trim_matches(['[', ']']).parse().ok()
}

/// The system is asked which of its addresses it would send from: that is the address itself. Nothing is
/// sent by that.
fn is_own(address: IpAddr) -> bool {
    let any =
        if address.is_ipv4() { IpAddr::from(Ipv4Addr::UNSPECIFIED) } else { Ipv6Addr::UNSPECIFIED.into() };
    let sent_from = || {
        let socket = UdpSocket::bind((any, 0)).ok()?;
        // Any port: none is reached.
        socket.connect((address, 9)).ok()?;
        Some(socket.local_addr().ok()?.ip())
    };
    address.is_loopback() || address.is_unspecified() || sent_from() == Some(address)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::sync::mpsc::{Sender, channel};

    use super::*;

    fn of_test(name: &str) -> io::Result<Vec<IpAddr>> {
        let own = IpAddr::from([127, 0, 0, 1]);
        let other = IpAddr::from([192, 0, 2, 1]);
        match name {
            "own.test" => Ok(vec![own]),
            "both.test" => Ok(vec![other, own]),
            "other.test" => Ok(vec![other]),
            _ => Err(ErrorKind::NotFound.into()),
        }
    }

    #[tokio::test]
    async fn a_name_leads_here_if_one_of_its_addresses_is_this_hosts_own() {
        for (name, with_proxy) in
            [("own.test", true), ("both.test", true), ("other.test", false), ("none.test", false)]
        {
            let url = Url::parse(&format!("http://{name}:8000/v1")).unwrap();
            assert_eq!(OwnHosts::new(true, of_test).leads_here(&url).await, with_proxy, "{name}");
            assert!(!OwnHosts::new(false, of_test).leads_here(&url).await, "{name}: there is no proxy");
        }
    }

    #[tokio::test]
    async fn a_name_that_is_not_answered_for_is_waited_for_once() {
        static ASKED: AtomicU32 = AtomicU32::new(0);
        static IS_OVER: Mutex<Option<Sender<()>>> = Mutex::new(None);
        fn hangs(_: &str) -> io::Result<Vec<IpAddr>> {
            ASKED.fetch_add(1, Ordering::SeqCst);
            let (sender, over) = channel();
            *lock(&IS_OVER) = Some(sender);
            over.recv().ok();
            Err(ErrorKind::TimedOut.into())
        }
        let hosts = OwnHosts::new(true, hangs);
        let url = Url::parse("http://slow.test/").unwrap();

        let began = Instant::now();
        for _ in 0..3 {
            assert!(!hosts.leads_here(&url).await);
        }
        let took = began.elapsed();
        drop(lock(&IS_OVER).take());

        assert_eq!(ASKED.load(Ordering::SeqCst), 1);
        assert!(took >= LOOKUP_TIMEOUT && took < LOOKUP_TIMEOUT * 2, "{took:?}");
    }

    #[tokio::test]
    async fn what_is_sent_directly_connects_to_no_other_host() {
        for (name, expected) in [("own.test", 1), ("both.test", 1), ("other.test", 0), ("none.test", 0)] {
            let found = OnlyOwn(of_test).resolve(name.parse().unwrap()).await;
            assert_eq!(found.map_or(0, Iterator::count), expected, "{name}");
        }
    }
}
