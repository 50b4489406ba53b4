use std::process::{Command, Stdio};

use super::*;

/// A process with what an owner would say of it.
fn other() -> (std::process::Child, Owner) {
    let mut command = Command::new("sleep");
    let child = command.arg("1000").stdin(Stdio::null()).spawn().unwrap();
    let owner = Owner {
        pid: child.id(),
        started: started(child.id()),
        ..Owner::this(60.0)
    };
    (child, owner)
}

#[test]
#[cfg(target_os = "linux")]
fn a_process_is_there_until_it_ends_and_a_later_one_of_its_id_is_another() {
    let (mut child, owner) = other();
    assert_eq!(owner.presence(), Presence::There);
    let earlier = Owner {
        started: owner.started.map(|it| it - 1),
        ..owner.clone()
    };
    assert_eq!(earlier.presence(), Presence::Gone);
    child.kill().unwrap();
    // It is a zombie until it is waited for.
    while owner.presence() == Presence::There {
        std::thread::yield_now();
    }
    assert_eq!(owner.presence(), Presence::Gone);
    child.wait().unwrap();
    assert_eq!(owner.presence(), Presence::Gone);
}

#[test]
#[cfg(target_os = "linux")]
fn nothing_is_known_of_processes_elsewhere() {
    let here = Owner::this(60.0);
    assert_eq!(here.presence(), Presence::There);
    let elsewhere: [fn(&mut Owner); 5] = [
        |it| (it.boot, it.machine) = (Some("another".to_owned()), None),
        |it| it.namespace = Some("pid:[1]".to_owned()),
        |it| it.host = "elsewhere".to_owned(),
        |it| it.user = Some(u32::MAX),
        |it| it.started = None,
    ];
    for change in elsewhere {
        let mut owner = here.clone();
        change(&mut owner);
        assert_eq!(owner.presence(), Presence::Unseen, "{owner:?}");
    }
    assert_eq!(Owner::unknown().presence(), Presence::Unseen);
}

#[test]
#[cfg(target_os = "linux")]
fn a_process_of_an_earlier_start_of_this_machine_is_gone_and_one_of_another_machine_is_not() {
    let before = Owner {
        boot: Some("an earlier one".to_owned()),
        namespace: Some(FIRST_NAMESPACE.to_owned()),
        ..Owner::here()
    };
    // A machine without an id is like any other of its name.
    let expected = match machine_id() {
        Some(_) => Presence::Gone,
        None => Presence::Unseen,
    };
    assert_eq!(before.presence(), expected);
    let others: [fn(&mut Owner); 4] = [
        |it| it.host = "elsewhere".to_owned(),
        |it| it.machine = Some("0badcafe".to_owned()),
        |it| it.namespace = Some("pid:[4026532229]".to_owned()),
        |it| it.boot = None,
    ];
    for change in others {
        let mut other = before.clone();
        change(&mut other);
        assert_eq!(other.presence(), Presence::Unseen, "{other:?}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_process_whose_leader_is_gone_is_an_orphan() {
    let (mut child, of_child) = other();
    let (pid, started) = (of_child.pid, of_child.started.unwrap());
    let led = Owner {
        leader: Some(Leader { pid, started }),
        ..Owner::this(60.0)
    };
    assert!(!led.is_orphan());
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(led.is_orphan());
    let elsewhere = Owner {
        host: "elsewhere".to_owned(),
        ..led
    };
    assert!(!elsewhere.is_orphan());
}
