//! What is answered.

use std::io::{self, Write};

use serde_json::{Value, json};

/// Nothing but this server's own files is loaded or asked, no script that stands in a page runs, and no text becomes
/// markup: the last rule makes the browser refuse what would.
pub const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
    require-trusted-types-for 'script'; trusted-types 'none'";

/// An answer.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub kind: &'static str,
    pub body: Vec<u8>,
}

impl Response {
    /// A file of the page.
    pub fn file(kind: &'static str, text: &str) -> Self {
        Self {
            status: 200,
            kind,
            body: text.as_bytes().to_vec(),
        }
    }

    /// What was asked for.
    pub fn json(value: &Value) -> Self {
        Self {
            status: 200,
            kind: "application/json",
            body: value.to_string().into_bytes(),
        }
    }

    /// Why there is nothing.
    pub fn refused(status: u16, why: &str) -> Self {
        Self {
            status,
            ..Self::json(&json!({ "error": why }))
        }
    }

    /// Writes it; without its body to who asked for its head alone.
    ///
    /// # Errors
    /// If the other side is gone.
    pub fn write(&self, stream: &mut impl Write, head_alone: bool) -> io::Result<()> {
        let length = format!("Content-Length: {}\r\n", self.body.len());
        let mut bytes = head(self.status, self.kind, &length).into_bytes();
        if !head_alone {
            bytes.extend_from_slice(&self.body);
        }
        stream.write_all(&bytes)?;
        stream.flush()
    }
}

/// The head of an answer.
pub fn head(status: u16, kind: &str, more: &str) -> String {
    let reason = match status {
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        404 => "Not Found",
        405 => "Method Not Allowed",
        421 => "Misdirected Request",
        _ => "Service Unavailable",
    };
    format!(
        "HTTP/1.1 {status} {reason}\r\nContent-Type: {kind}; charset=utf-8\r\n{more}Connection: close\r\n\
         Cache-Control: no-store\r\nContent-Security-Policy: {POLICY}\r\nX-Content-Type-Options: nosniff\r\n\
         Referrer-Policy: no-referrer\r\nCross-Origin-Resource-Policy: same-origin\r\n\
         Cross-Origin-Opener-Policy: same-origin\r\n\r\n"
    )
}
