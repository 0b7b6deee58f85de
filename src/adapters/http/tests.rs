//! Requests against servers of a few lines that misbehave.

use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::mpsc;
use std::thread;

use proptest::prelude::*;

use super::own_address::is_own_address;
use super::*;
use crate::config::is_loopback;

const SOON: Duration = Duration::from_secs(20);

/// Serves connections one after another; `answer` gets each request's head and
/// body and the connection, and says whether the connection stays open.
fn serve(mut answer: impl FnMut(&str, &str, &mut TcpStream) -> bool + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut stream = stream;
            while let Some((head, body)) = read_request(&mut reader) {
                if !answer(&head, &body, &mut stream) {
                    break;
                }
            }
        }
    });
    address
}

fn read_request(reader: &mut impl BufRead) -> Option<(String, String)> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let head = head.to_ascii_lowercase();
    let length =
        head.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |n| n.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((head, String::from_utf8(body).unwrap()))
}

fn respond(to: &mut TcpStream, head: &str, body: &[u8]) {
    write!(to, "HTTP/1.1 {head}\r\ncontent-length: {}\r\n\r\n", body.len()).unwrap();
    to.write_all(body).unwrap();
}

async fn get(address: SocketAddr, max_bytes: usize, timeout: Duration) -> Result<Reply, HttpError> {
    let url = format!("http://{address}/path?token=hidden");
    let request = HttpRequest { method: HttpMethod::Get, url: &url, headers: &[], max_bytes, timeout };
    Http::new().unwrap().send(request).await
}

#[tokio::test]
async fn requests_carry_their_headers_and_share_one_connection() {
    let (seen, requests) = mpsc::channel();
    let address = serve(move |head, body, to| {
        let peer = to.peer_addr().unwrap();
        seen.send((head.to_owned(), body.to_owned(), peer)).unwrap();
        respond(to, "429 Too Many Requests\r\nretry-after: 7", b"later");
        true
    });
    let http = Http::new().unwrap();
    let key = SecretString::from("AIza-secret");
    let headers = [
        ("content-type", HeaderText::Plain("application/json")),
        ("x-goog-api-key", HeaderText::Secret(&key)),
    ];

    for _ in 0..2 {
        let url = format!("http://{address}/v1");
        let method = HttpMethod::Post(b"{}".to_vec());
        let request = HttpRequest { method, url: &url, headers: &headers, max_bytes: 100, timeout: SOON };
        let reply = http.send(request).await.unwrap();
        assert_eq!((reply.status, reply.retry_after), (429, Some(Duration::from_secs(7))));
        assert_eq!(reply.body, b"later");
    }

    let (first, second) = (requests.recv().unwrap(), requests.recv().unwrap());
    assert_eq!(first, second, "the same request on the same connection");
    let (head, body, _) = first;
    assert_eq!(body, "{}");
    assert!(head.starts_with("post /v1 http/1.1\r\n"), "{head}");
    for line in [
        "content-type: application/json",
        "x-goog-api-key: aiza-secret",
        "accept-encoding: gzip",
        "user-agent: reindexd/",
    ] {
        assert!(head.contains(line), "{line} missing in {head}");
    }
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_is_not_followed() {
    let address = serve(|_, _, to| {
        respond(to, "307 Temporary Redirect\r\nlocation: http://elsewhere.invalid/", b"");
        true
    });
    let reply = get(address, 100, SOON).await.unwrap();
    assert_eq!((reply.status, reply.location.as_deref()), (307, Some("http://elsewhere.invalid/")));
}

#[tokio::test]
async fn a_compressed_body_arrives_as_it_was_and_is_held_to_its_real_size() {
    const GZIP: [u8; 32] = [
        31, 139, 8, 0, 0, 0, 0, 0, 2, 3, 43, 46, 44, 77, 77, 173, 74, 77, 81, 40, 30, 58, 12, 0, 216, 190,
        219, 0, 180, 0, 0, 0,
    ];
    let address = serve(|_, _, to| {
        respond(to, "200 OK\r\ncontent-encoding: gzip", &GZIP[..]);
        true
    });
    let reply = get(address, 180, SOON).await.unwrap();
    assert_eq!(reply.body, "squeezed ".repeat(20).into_bytes());
    assert!(matches!(get(address, 179, SOON).await, Err(HttpError::TooLarge { max_bytes: 179, .. })));
}

#[tokio::test]
async fn a_body_that_never_ends_is_cut_off_at_the_limit() {
    let address = serve(|_, _, to| {
        write!(to, "HTTP/1.1 200 OK\r\n\r\n").unwrap();
        while to.write_all(&[b'x'; 4096]).is_ok() {}
        false
    });
    let error = get(address, 100_000, SOON).await.unwrap_err();
    assert!(matches!(error, HttpError::TooLarge { max_bytes: 100_000, .. }), "{error}");
}

#[tokio::test]
async fn the_timeout_covers_the_body() {
    let (release, held) = mpsc::channel::<()>();
    let address = serve(move |_, _, to| {
        write!(to, "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf").unwrap();
        held.recv().ok();
        false
    });
    let error = get(address, 100, Duration::from_millis(100)).await.unwrap_err();
    drop(release);
    assert!(matches!(error, HttpError::Timeout { .. }) && error.retry(), "{error}");
    assert_eq!(error.to_string(), format!("no answer from http://{address} within 100ms"));
}

#[tokio::test]
async fn a_broken_connection_is_reported_by_its_origin_alone() {
    let cut_off = serve(|_, _, to| {
        write!(to, "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf").unwrap();
        to.shutdown(std::net::Shutdown::Both).unwrap();
        false
    });
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for address in [cut_off, closed] {
        let error = get(address, 100, SOON).await.unwrap_err();
        assert!(matches!(error, HttpError::Broken { .. }) && error.retry(), "{error}");
        assert!(
            error.to_string().contains(&address.to_string()) && !error.to_string().contains("hidden"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn what_cannot_be_sent_is_reported_without_being_shown() {
    let http = Http::new().unwrap();
    let get = |url, headers| {
        http.send(HttpRequest { method: HttpMethod::Get, url, headers, max_bytes: 1, timeout: SOON })
    };
    for url in ["", "localhost:80", "/data/x", "ftp://host/x", "unix:/run/x"] {
        let error = get(url, &[]).await.unwrap_err();
        assert!(matches!(error, HttpError::Address(_)) && !error.retry(), "{url}: {error}");
    }
    let key = SecretString::from("secret\n");
    let headers = [("authorization", HeaderText::Secret(&key))];
    let error = get("http://127.0.0.1:1/", &headers).await.unwrap_err();
    assert!(matches!(error, HttpError::Header("authorization")));
    assert!(!format!("{error} {error:?}").contains("secret"));
}

#[test]
fn a_secret_header_does_not_print() {
    let key = SecretString::from("AIza-secret");
    let map = header_map(&[("x-goog-api-key", HeaderText::Secret(&key))]).unwrap();
    assert!(!format!("{map:?}").contains("AIza"), "{map:?}");
}

#[test]
fn a_wait_is_read_from_seconds_or_from_a_date_by_the_servers_clock() {
    let date = Some("Wed, 21 Oct 2015 07:28:00 GMT");
    let cases = [
        (None, None),
        (Some("0"), Some(0.0)),
        (Some(" 120 "), Some(120.0)),
        (Some("1.5"), Some(1.5)),
        (Some("-1"), None),
        (Some("soon"), None),
        (Some("1e300"), None),
        (Some("NaN"), None),
        (Some("Wed, 21 Oct 2015 07:28:30 GMT"), Some(30.0)),
        (Some("Wed, 21 Oct 2015 07:27:00 GMT"), Some(0.0)),
    ];
    for (asked, expected) in cases {
        assert_eq!(retry_after(asked, date), expected.map(Duration::from_secs_f64), "{asked:?}");
    }
    // Without the server's clock ours is taken, and this date is long past.
    assert_eq!(retry_after(date, None), Some(Duration::ZERO));
}

#[test]
fn only_this_hosts_own_addresses_are_reached_without_a_proxy() {
    let cases = [
        ("http://localhost:1/", true),
        ("http://LOCALHOST/", true),
        ("http://127.0.0.53/", true),
        ("http://[::1]:8000/x", true),
        ("http://api.localhost/", true),
        ("http://10.0.0.1/", false),
        ("https://localhost.example.com/", false),
        ("https://example.com/127.0.0.1", false),
    ];
    for (url, expected) in cases {
        assert_eq!(is_loopback(&address(url).unwrap()), expected, "{url}");
    }
}

proptest! {
    #[test]
    fn no_header_makes_the_reader_of_waits_panic(
        asked in "[-+0-9.eE]{0,24}|[A-Z][a-z]{2}, [0-9]{1,2} [A-Z][a-z]{2} [0-9]{1,5} [0-9:]{0,8} GMT|.{0,20}",
        date in any::<Option<String>>(),
    ) {
        retry_after(Some(&asked), date.as_deref());
    }

    #[test]
    fn seconds_and_dates_are_the_wait_that_they_say(seconds in 0_u32..10_000_000) {
        let wait = Some(Duration::from_secs(seconds.into()));
        prop_assert_eq!(retry_after(Some(&seconds.to_string()), None), wait);
        let now = jiff::Timestamp::from_second(1_800_000_000).unwrap();
        let print = |at: jiff::Timestamp| at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
        let until = print(now + jiff::SignedDuration::from_secs(seconds.into()));
        prop_assert_eq!(retry_after(Some(&until), Some(&print(now))), wait);
    }
}

#[test]
fn an_address_of_any_interface_is_this_hosts_own() {
    let own = |url: &str| is_own_address(&Url::parse(url).unwrap());
    for url in ["http://127.0.0.1:1/x", "http://0.0.0.0:1/"] {
        assert!(own(url), "{url}");
    }
    // The address of the interface that leads outside, where there is one.
    let outside = UdpSocket::bind("0.0.0.0:0").unwrap();
    if outside.connect("192.0.2.1:9").is_ok() {
        let address = outside.local_addr().unwrap().ip();
        assert!(own(&format!("http://{address}:8080/v1")), "{address}");
    }
    for url in ["http://192.0.2.1/", "http://[2001:db8::1]:1/", "http://host.example/"] {
        assert!(!own(url), "{url}");
    }
}

#[tokio::test]
async fn of_a_refusal_only_the_beginning_is_read() {
    for (status, expected) in [("503 Service Unavailable", 503), ("400 Bad Request", 400)] {
        let address = serve(move |_, _, to| {
            write!(to, "HTTP/1.1 {status}\r\n\r\n").unwrap();
            while to.write_all(&[b'x'; 4096]).is_ok() {}
            false
        });

        let reply = get(address, 100 << 20, SOON).await.unwrap();

        assert_eq!((reply.status, reply.body.len()), (expected, MAX_REFUSAL_BYTES));
        assert_eq!(get(address, 10, SOON).await.unwrap().body.len(), 10, "the caller may ask for less");
    }
}

#[tokio::test]
async fn a_name_of_this_host_is_reached_without_the_proxy_and_any_other_through_it() {
    let here = |name: &str| match name {
        "this-host.test" => Ok(vec![IpAddr::from([127, 0, 0, 1])]),
        _ => Ok(vec![IpAddr::from([192, 0, 2, 1])]),
    };
    let named = |text: &'static str| {
        serve(move |_, _, to| {
            respond(to, "200 OK", text.as_bytes());
            true
        })
    };
    let (own, proxy) = (named("this host"), named("the proxy"));
    let plain = Http::with_lookup(here).unwrap();
    let proxied = reqwest::Proxy::all(format!("http://{proxy}")).unwrap();
    let outside = Client::builder().proxy(proxied).build().unwrap();
    let http = Http { outside, own_hosts: OwnHosts::new(true, here), ..plain };

    for (name, expected) in [("this-host.test", "this host"), ("other.test", "the proxy")] {
        let url = format!("http://{name}:{}/v1", own.port());
        let method = HttpMethod::Get;
        let request = HttpRequest { method, url: &url, headers: &[], max_bytes: 100, timeout: SOON };
        let reply = http.send(request).await.unwrap();
        assert_eq!(String::from_utf8(reply.body).unwrap(), expected, "{name}");
    }
}
