//! `host watch`.

use std::io::ErrorKind;
use std::net::IpAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use serde_json::json;

use super::args::{Output, WatchArgs};
use super::early;
use super::exit::{Exit, Failure};
use super::stdout;
use crate::interrupt::Interrupt;
use crate::program;
use crate::records::SweepRecord;
use crate::store::Owner;
use crate::watch::{Board, Door, Index, Server, Token};

/// The port where a page that is kept open is found again.
const PORT: u16 = 7394;

/// How often it is looked whether to stop.
const PATROL: Duration = Duration::from_millis(50);

/// Serves the page of a folder of runs until it is told to stop.
///
/// # Errors
/// What is no folder of runs, or an address that cannot be had.
pub fn watch(args: &WatchArgs, output: &Output) -> Result<Exit, Failure> {
    let shown = args.runs.display();
    let runs = args.runs.canonicalize();
    let runs = runs
        .and_then(|it| std::fs::read_dir(&it).map(|_| it))
        .map_err(|error| {
            Failure::bad_input(format!(
                "failed to read the folder of runs {shown}: {error}; name it: `{} watch FOLDER`",
                program::name()
            ))
        })?;
    if SweepRecord::is_at(&runs) || runs.join("identity.json").exists() {
        return Err(Failure::bad_input(format!(
            "{shown} is a sweep or a run: name the folder that it lies in, which the page shows with all that lies \
             there"
        )));
    }
    let failed = |what: &str, error: std::io::Error| {
        Failure::new(Exit::Failed, format!("failed to {what}: {error}"))
    };
    let interrupt = Interrupt::listen(Exit::Success as i32);
    let interrupt = interrupt.map_err(|error| failed("listen to signals", error))?;
    early::end();
    let door = open(args.bind, args.port)?;
    let token = Token::draw().map_err(|error| failed("draw a token", error))?;
    let board = Arc::new(Board::default());
    let server = Arc::new(Server::new(&runs, board.clone(), token, Owner::here().host));
    let url = server.url(&door);
    match output.json {
        true => stdout::line(json!({
            "event": "watching", "runs": runs, "url": url, "address": door.address,
        }))?,
        false => stdout::line(format!("{shown} is shown at {url}"))?,
    }
    explain(&door);
    let index = board.clone();
    let looking = thread::spawn(move || Index::new(&runs, &index).follow());
    thread::spawn(move || server.serve(door));
    while !interrupt.wants_stop() && !looking.is_finished() {
        thread::sleep(PATROL);
    }
    board.close();
    match interrupt.wants_stop() {
        true => Ok(Exit::Success),
        // It follows until the board is closed: a thread that ended before failed, which was told.
        false => Err(Failure::new(
            Exit::Failed,
            "the page cannot be kept up to date any more",
        )),
    }
}

/// Opens the port that was asked for, or else the usual one, or any that is free.
fn open(address: IpAddr, port: Option<u16>) -> Result<Door, Failure> {
    let door = Door::open(address, port.unwrap_or(PORT));
    let door = match (door, port) {
        (Err(error), None) if error.kind() == ErrorKind::AddrInUse => Door::open(address, 0),
        (door, _) => door,
    };
    door.map_err(|error| {
        let port = port.unwrap_or(PORT);
        Failure::bad_input(match error.kind() {
            ErrorKind::AddrInUse => format!("port {port} is taken: name another one with --port, or 0 for any"),
            _ => format!("failed to listen at {address}, port {port}: {error}; name an address of this machine with --bind"),
        })
    })
}

/// Says what whoever sits elsewhere has to know.
fn explain(door: &Door) {
    let (address, port) = (door.address.ip(), door.address.port());
    if !address.is_loopback() {
        log::warn!(
            "whoever reaches this machine and has the address above reads all that lies there; what is sent is not \
             encrypted. Without --bind, and with `ssh -L {port}:127.0.0.1:{port}`, it is"
        );
    } else if std::env::var_os("SSH_CONNECTION").is_some() {
        log::info!(
            "to open it on the machine that you sit at: `ssh -L {port}:127.0.0.1:{port} {}` there",
            Owner::here().host
        );
    }
    log::info!("Ctrl-C ends it; runs go on");
}
