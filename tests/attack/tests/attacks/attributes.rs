//! Machines that share a network file system, which shows each of them for seconds what it had seen before, and
//! whose clocks differ by hours: claims hold all the same.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use attack::patience::wait_until;
use attack::process::{end, run, send, start};
use attack::stale::Machine;

use super::claims::children_of;
use super::desk::{Desk, TWO, asked, begun, states};
use super::siege::crowd;

/// Seconds for which a machine sees what it had seen.
pub const STALE_SECONDS: u64 = 3;

fn machines(desk: &Desk, count: usize) -> Vec<Machine> {
    let clock = |at: usize| [0, 5, -7, 1, -30][at % 5] * 3600;
    let folder = desk.runs("machines");
    (0..count)
        .map(|at| Machine::new(&folder, &format!("machine-{at}"), clock(at)))
        .collect()
}

fn claimer(desk: &Desk, machine: &Machine) -> Command {
    let more = ["--claim", "--checkpoint-every", "0"];
    let mut command = desk.command("shared", &more);
    machine.run(&mut command, &desk.runs("shared"), STALE_SECONDS);
    command
}

/// Whether a file is seen by a process of a machine again and again, though another one made or removed it.
#[test]
fn a_machine_sees_what_it_had_seen_until_it_changes_something_itself() {
    let folder = tempfile::tempdir().unwrap();
    let machine = Machine::new(folder.path(), "machine", 0);
    let root = folder.path().join("shared");
    fs::create_dir(&root).unwrap();
    let script = "import os, sys, time\n\
        def opens(name):\n\
        \x20   try: return bool(open(name))\n\
        \x20   except OSError: return False\n\
        def see(): return [opens('a'), sorted(os.listdir('.'))]\n\
        print(see(), flush=True); sys.stdin.readline()\n\
        print(see(), flush=True); os.mkdir('own'); os.rmdir('own'); print(see(), flush=True)\n";
    let mut command = Command::new("python3");
    command
        .args(["-c", script])
        .current_dir(&root)
        .stdin(std::process::Stdio::piped());
    machine.run(&mut command, &root, 1000);
    let mut child = start(&mut command);
    // It has seen that nothing is there.
    wait_until(&mut child, "its first look", || {
        thread::sleep(Duration::from_millis(500));
        true
    });
    fs::write(root.join("a"), "").unwrap();
    fs::create_dir(root.join("b")).unwrap();
    drop(child.stdin.take());
    let said = end(child).expect(0).stdout;
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[0], "[False, []]");
    assert_eq!(lines[1], lines[0], "{said}");
    assert_eq!(lines[2], "[True, ['a', 'b']]");
}

#[test]
fn claims_hold_where_attributes_are_stale_and_clocks_differ_by_hours() {
    let rates = asked("ATTACK_STALE", 4) / 2;
    let desk = Desk {
        limit: "12".to_owned(),
        ..Desk::new(rates, 5, TWO)
    };
    run(&mut desk.command("one", &[])).expect(0);
    let machines = machines(&desk, 4);
    let mut commands = machines.iter().map(|it| claimer(&desk, it));
    let claimers: Vec<Child> = commands.by_ref().map(|mut it| start(&mut it)).collect();
    let ends: Vec<_> = claimers
        .into_iter()
        .map(|child| thread::spawn(move || end(child).expect(0).stdout))
        .collect();
    let outputs: Vec<String> = ends.into_iter().map(|it| it.join().unwrap()).collect();
    // Nothing was done twice, the dense levels that two cells share included.
    let begun = begun(&outputs);
    let twice: Vec<_> = begun.iter().filter(|(_, times)| **times > 1).collect();
    assert!(twice.is_empty(), "{twice:#?}");
    assert_eq!(begun.len(), rates * 5);
    for output in &outputs {
        assert_eq!(states(output).len(), 2 * rates);
    }
    desk.assert_same("one", "shared");
}

#[test]
fn a_machine_that_dies_and_one_that_stands_still_lose_their_claims_where_attributes_are_stale() {
    let times = asked("ATTACK_STALE", 4).div_ceil(4);
    let mut done = BTreeMap::new();
    for time in 0..times {
        let desk = Desk {
            limit: "12".to_owned(),
            ..Desk::new(2, 400, TWO)
        };
        run(&mut desk.command("one", &[])).expect(0);
        let machines = machines(&desk, 4);
        let mut first: Vec<Child> = machines[..2]
            .iter()
            .map(|machine| start(&mut claimer(&desk, machine)))
            .collect();
        for child in &mut first {
            let id = child.id();
            wait_until(child, "its cell", || !children_of(id).is_empty());
        }
        // Somewhere in what they do first.
        thread::sleep(Duration::from_millis(1500 + 400 * (time as u64 % 7)));
        let groups =
            [0, 1].map(|at: usize| [vec![first[at].id()], children_of(first[at].id())].concat());
        groups[0].iter().for_each(|it| send(*it, "KILL"));
        groups[1].iter().for_each(|it| send(*it, "STOP"));
        let began = Instant::now();
        let others: Vec<Child> = machines[2..]
            .iter()
            .map(|machine| start(&mut claimer(&desk, machine)))
            .collect();
        let ends = others
            .into_iter()
            .map(|child| thread::spawn(move || end(child).expect(0)));
        let ends: Vec<_> = ends
            .collect::<Vec<_>>()
            .into_iter()
            .map(|it| it.join().unwrap())
            .collect();
        assert!(
            began.elapsed() > Duration::from_secs(12),
            "they did not wait"
        );
        let taken = ends
            .iter()
            .map(|it| it.stderr.matches("it is taken over").count());
        *done.entry("taken over").or_insert(0) += taken.sum::<usize>();
        desk.assert_same("one", "shared");
        groups[1].iter().for_each(|it| send(*it, "CONT"));
        let still = first.pop().unwrap();
        end(still).expect(0);
        end(first.pop().unwrap());
        desk.assert_same("one", "shared");
        let logs = desk.runs("shared/small/logs");
        *done.entry("fenced").or_insert(0) += usize::from(says(&logs, "was not written: process "));
    }
    println!("{times} deaths and {times} pauses: {done:?}");
    assert!(done["taken over"] >= 2 * times, "{done:?}");
}

#[test]
#[ignore = "a quarter of an hour, and half a minute until who died counts as dead: `make attack`"]
fn a_crowd_on_machines_that_see_stale_attributes_does_every_cell_and_finishes_no_level_twice() {
    crowd(asked("ATTACK_CROWD", 100), &|desk| machines(desk, 4));
}

fn says(logs: &Path, what: &str) -> bool {
    let logs = fs::read_dir(logs).unwrap().flatten();
    logs.map(|log| fs::read_to_string(log.path()).unwrap())
        .any(|text| text.contains(what))
}
