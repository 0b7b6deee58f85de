//! Addresses in the settings: `http` or `https`, a host, and no secret in them.
//!
//! Logs and `reindexd config` show addresses, so one with a user name or a
//! password is refused, and the error does not repeat it. Requests are sent by
//! the adapters; nothing is opened here.

use std::net::IpAddr;

use url::Url;

use super::ConfigError;
use super::origin::Sourced;

/// Checks that a text is an address for requests. The error says what was expected.
pub(super) fn checked(text: &str) -> Result<String, String> {
    let url = parsed(text)?;
    if url.fragment().is_some() {
        return Err("an address without #fragment".to_owned());
    }
    Ok(text.to_owned())
}

/// As [`checked`], for an address that paths are appended to: it ends without a slash.
pub(super) fn checked_base(text: &str) -> Result<String, String> {
    checked(text)?;
    if text.contains('?') {
        return Err("an address without ?query, because paths are appended to it".to_owned());
    }
    Ok(text.trim_end_matches('/').to_owned())
}

/// The error about an address, which shows no more of it than is safe.
pub(super) fn refused(key: &str, given: &Sourced<String>, expected: String) -> ConfigError {
    let shown = match given.value.split_once('?') {
        _ if given.value.contains('@') => "***".to_owned(),
        Some((address, _)) => format!("{address}?***"),
        None => given.value.clone(),
    };
    given.clone().map(|_| shown).refused(key, expected)
}

/// Whether others on the network can read what is sent there.
pub(super) fn is_open_to_others(base: &str) -> bool {
    parsed(base).is_ok_and(|url| url.scheme() == "http" && !is_loopback(&url))
}

/// Whether an address is on this host.
pub(crate) fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost"
        || host.ends_with(".localhost")
        || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

fn parsed(text: &str) -> Result<Url, String> {
    const SYNTAX: &str = "an address such as http://127.0.0.1:8000/path";
    // The parser would drop line breaks and blanks without an error.
    if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(format!("{SYNTAX}, without white space"));
    }
    let url = Url::parse(text).map_err(|error| format!("{SYNTAX} ({error})"))?;
    if !matches!(url.scheme(), "http" | "https")
        || !text.to_lowercase().starts_with(&format!("{}://", url.scheme()))
    {
        return Err(format!("{SYNTAX}, with http:// or https:// before it"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(
            "an address without user name or password: a secret must be in a file of its own".to_owned()
        );
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_address_can_be_requested_and_holds_no_secret() {
        for text in
            ["http://127.0.0.1:8000/admin/reload", "https://api.example.org", "http://[::1]/x?build=1"]
        {
            assert_eq!(checked(text), Ok(text.to_owned()));
        }
        for (text, expected) in [
            ("", "an address"),
            ("127.0.0.1:8000", "an address"),
            ("localhost:8000/x", "http:// or https://"),
            ("ftp://host/x", "http:// or https://"),
            ("http:/host/x", "http:// or https://"),
            ("file:///etc/passwd", "http:// or https://"),
            ("http://", "an address"),
            ("http://host:99999/", "an address"),
            ("http://ho st/", "white space"),
            ("http://host/\n", "white space"),
            ("http://user:secret@host/", "without user name"),
            ("http://user@host/", "without user name"),
            ("http://host/#x", "#fragment"),
        ] {
            let error = checked(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn a_base_ends_without_a_slash_and_without_a_query() {
        assert_eq!(checked_base("https://proxy/gemini/"), Ok("https://proxy/gemini".to_owned()));
        assert_eq!(checked_base("http://127.0.0.1:1"), Ok("http://127.0.0.1:1".to_owned()));
        assert!(checked_base("http://host/?key=1").is_err());
    }

    #[test]
    fn plain_http_beyond_this_host_is_open_to_others() {
        for (base, open) in [
            ("https://proxy", false),
            ("http://127.0.0.1:1", false),
            ("http://[::1]:1", false),
            ("http://localhost", false),
            ("http://proxy", true),
            ("http://10.0.0.1", true),
        ] {
            assert_eq!(is_open_to_others(base), open, "{base}");
        }
    }

    proptest! {
        #[test]
        fn what_is_accepted_can_be_requested_and_what_is_refused_shows_no_secret(
            text in "(http|https|ftp|HTTP)?:?/{0,3}([a-z]{1,5}(:[a-z]{1,3})?@)?[a-z0-9.:\\[\\]%]{0,12}(/[a-z?#%@]{0,6})?|.{0,20}",
        ) {
            if let Ok(address) = checked(&text) {
                let url = Url::parse(&address).unwrap();
                prop_assert!(url.username().is_empty() && url.password().is_none() && url.has_host());
            }
            if let Ok(base) = checked_base(&text) {
                prop_assert!(!base.ends_with('/') && !base.contains('?'));
            }
            is_open_to_others(&text);
        }
    }
}
