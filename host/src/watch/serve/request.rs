//! What a browser asks for.

use std::io::{self, ErrorKind, Read};
use std::net::IpAddr;

use percent_encoding::percent_decode_str;

/// Bytes that a request may have: its first line and its headers.
const MOST: usize = 16 * 1024;

/// Headers that it may have.
const MOST_HEADERS: usize = 64;

/// A request.
#[derive(Debug, Default, PartialEq)]
pub struct Request {
    pub method: String,
    /// Without the query.
    pub path: String,
    pub query: Vec<(String, String)>,
    /// The name by which the server was called, without its port.
    pub host: Option<String>,
    /// The token that it shows.
    pub token: Option<String>,
}

impl Request {
    /// Reads one; none if the other side closed without a word.
    ///
    /// # Errors
    /// If what comes is no request of HTTP/1, or too long a one, or it takes too long.
    pub fn read(stream: &mut impl Read) -> io::Result<Option<Self>> {
        let mut bytes = Vec::new();
        let mut piece = [0; 2048];
        loop {
            let count = stream.read(&mut piece)?;
            if count == 0 {
                return match bytes.is_empty() {
                    true => Ok(None),
                    false => Err(refused("it breaks off")),
                };
            }
            bytes.extend_from_slice(&piece[..count]);
            if let Some(request) = Self::parse(&bytes)? {
                return Ok(Some(request));
            }
            if bytes.len() > MOST {
                return Err(refused("its headers are too long"));
            }
        }
    }

    /// A request in bytes; none as long as its headers have no end.
    fn parse(bytes: &[u8]) -> io::Result<Option<Self>> {
        let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
        let mut parsed = httparse::Request::new(&mut headers);
        let status = parsed
            .parse(bytes)
            .map_err(|error| refused(&error.to_string()))?;
        if status.is_partial() {
            return Ok(None);
        }
        let header = |name: &str| {
            let mut found = parsed
                .headers
                .iter()
                .filter(|it| it.name.eq_ignore_ascii_case(name));
            let first = found.next()?;
            // One that is there twice could be read in two ways.
            let only = found.next().is_none();
            let text = str::from_utf8(first.value).ok()?;
            only.then(|| text.trim().to_owned())
        };
        let target = parsed.path.unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let query = query.split('&').filter(|it| !it.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(name), decoded(value))
        });
        let token = header("authorization");
        Ok(Some(Self {
            method: parsed.method.unwrap_or_default().to_owned(),
            path: path.to_owned(),
            query: query.collect(),
            host: header("host").map(|it| without_port(&it).to_owned()),
            token: token.and_then(|it| Some(it.strip_prefix("Bearer ")?.to_owned())),
        }))
    }

    /// The value of a name in the query.
    pub fn asked(&self, name: &str) -> Option<&str> {
        let found = self.query.iter().find(|it| it.0 == name);
        found.map(|it| it.1.as_str())
    }

    /// Whether it calls the server by an address, or by a name of this machine. A page from elsewhere can make its own
    /// name lead here, and a browser would take what is answered for that page's.
    pub fn calls(&self, machine: &str) -> bool {
        let Some(host) = &self.host else { return false };
        let address = host.trim_start_matches('[').trim_end_matches(']');
        host.eq_ignore_ascii_case("localhost")
            || host.eq_ignore_ascii_case(machine)
            || address.parse::<IpAddr>().is_ok()
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        // The colons of an address in brackets are its own.
        Some((name, port))
            if !port.ends_with(']') && port.bytes().all(|it| it.is_ascii_digit()) =>
        {
            name
        }
        _ => host,
    }
}

fn refused(why: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, why.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> io::Result<Option<Request>> {
        Request::read(&mut text.as_bytes())
    }

    #[test]
    fn a_request_has_a_path_a_query_a_host_and_a_token() {
        let text = "GET /api/run?id=a%20b%2Fc&x HTTP/1.1\r\nHost: localhost:80\r\nauthorization: Bearer me\r\n\r\n";
        let request = read(text).unwrap().unwrap();
        assert_eq!(
            (request.method.as_str(), request.path.as_str()),
            ("GET", "/api/run")
        );
        assert_eq!(
            (request.asked("id"), request.asked("x")),
            (Some("a b/c"), Some(""))
        );
        assert_eq!(request.host.as_deref(), Some("localhost"));
        assert_eq!(request.token.as_deref(), Some("me"));
        assert_eq!(request.asked("y"), None);
        assert_eq!(read("").unwrap(), None);
    }

    #[test]
    fn what_is_no_request_or_too_long_is_refused() {
        let long = format!("GET / HTTP/1.1\r\nA: {}\r\n", "a".repeat(2 * MOST));
        let many = format!(
            "GET / HTTP/1.1\r\n{}\r\n",
            "A: b\r\n".repeat(2 * MOST_HEADERS)
        );
        for wrong in [
            "GET / HTTP/1.1\r\n",
            "\u{16}\u{3}\u{1}",
            "GET /\r\n\r\n",
            &long,
            &many,
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_server_is_called_by_an_address_or_by_its_own_name() {
        let calls = |host: &str| {
            let text = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
            read(&text).unwrap().unwrap().calls("node7")
        };
        for host in [
            "127.0.0.1:7394",
            "localhost",
            "LOCALHOST:1",
            "[::1]:7394",
            "[::1]",
            "10.0.0.7",
            "node7:80",
        ] {
            assert!(calls(host), "{host}");
        }
        for host in [
            "evil.example:7394",
            "127.0.0.1.evil.example",
            "",
            "node7.evil.example",
            "localhost:a",
        ] {
            assert!(!calls(host), "{host}");
        }
        assert!(
            !read("GET / HTTP/1.0\r\n\r\n")
                .unwrap()
                .unwrap()
                .calls("node7")
        );
        let twice = "GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n";
        assert!(!read(twice).unwrap().unwrap().calls("node7"));
    }
}
