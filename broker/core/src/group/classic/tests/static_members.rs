//! Static members: whoever joins with their name takes their place.

use super::*;

fn stable_with_static(bench: &mut Bench) -> i32 {
    let generation = bench.stable(&["a"]);
    bench.join(process("s", "s-1"));
    bench.join(known("a"));
    bench.sync("a", generation + 1, &[("a", "0"), ("s-1", "1")]);
    bench.sync("s-1", generation + 1, &[]);
    bench.replies.clear();
    assert!(bench.is_stable());
    generation + 1
}

fn static_claim(instance: &str, id: &str, generation: i32) -> Claim {
    Claim { instance: Some(InstanceId::new(instance)), ..claim(id, generation) }
}

#[test]
fn a_static_member_that_restarts_takes_its_place_back_without_a_rebalance() {
    let mut bench = Bench::default();
    let generation = stable_with_static(&mut bench);
    let restarted = bench.join(process("s", "s-2"));
    let joined = bench.joined(restarted);
    assert_eq!((joined.generation, joined.member), (generation, member("s-2")));
    assert!(bench.is_stable());
    let synced = bench.sync("s-2", generation, &[]);
    assert_eq!(bench.assignment(synced), "1", "it keeps its assignment");

    let old = bench.request(|r| Event::Heartbeat(r, static_claim("s", "s-1", generation)));
    let fenced = Reply::Heartbeat(Err(GroupError::FencedInstance));
    assert_eq!(bench.replies.remove(&old), Some(fenced));
    let zombie = bench.join(Join { member: Some(member("s-1")), ..process("s", "x") });
    assert_eq!(bench.refused(zombie), GroupError::FencedInstance);
}

#[test]
fn a_static_leader_that_restarts_does_not_assign_again() {
    for knows_skip_assignment in [true, false] {
        let mut bench = Bench::default();
        let first = bench.join(process("s", "s-1"));
        let generation = bench.joined(first).generation;
        bench.sync("s-1", generation, &[("s-1", "all")]);
        let restarted = bench.join(Join { knows_skip_assignment, ..process("s", "s-2") });
        let joined = bench.joined(restarted);
        assert_eq!(joined.skip_assignment, knows_skip_assignment);
        if knows_skip_assignment {
            assert_eq!((joined.leader, joined.members.len()), (Some(member("s-2")), 1));
        } else {
            let leader = Some(member("s-1"));
            assert_eq!(joined.leader, leader, "an old client must not take itself for it");
        }
        let synced = bench.sync("s-2", generation, &[]);
        assert_eq!(bench.assignment(synced), "all");
    }
}

#[test]
fn a_static_member_that_restarts_with_other_protocols_starts_a_rebalance() {
    let mut bench = Bench::default();
    let generation = bench.stable(&["a"]);
    bench.leave(Leaving { member: Some(member("a")), instance: None }).expect("a member");
    let both = Join { protocols: protocols(&["range", "sticky"]), ..process("s", "s-1") };
    bench.join(both);
    bench.sync("s-1", generation + 2, &[]);
    assert!(bench.is_stable());
    bench.replies.clear();
    let turned = Join { protocols: protocols(&["sticky", "range"]), ..process("s", "s-2") };
    let restarted = bench.join(turned);
    assert_eq!(bench.joined(restarted).generation, generation + 3);
}

#[test]
fn a_static_member_outlives_a_rebalance_but_not_its_session() {
    let mut bench = Bench::default();
    let generation = stable_with_static(&mut bench);
    let rejoined = bench.join(known("a"));
    bench.advance(SESSION - Duration::from_secs(1));
    assert!(bench.waits(rejoined), "the static member may still come back");
    bench.advance(Duration::from_secs(1));
    assert_eq!(bench.joined(rejoined).members.len(), 1);
    let late = bench.request(|r| Event::Heartbeat(r, static_claim("s", "s-1", generation)));
    let unknown = Reply::Heartbeat(Err(GroupError::UnknownMember));
    assert_eq!(bench.replies.remove(&late), Some(unknown));
}

#[test]
fn a_static_leader_that_does_not_rejoin_keeps_its_place_but_not_the_lead() {
    let mut bench = Bench::default();
    bench.join(process("s", "s-1"));
    bench.sync("s-1", 1, &[("s-1", "all")]);
    let newcomer = bench.join(joining("b"));
    for _ in 0..REBALANCE.as_secs() / 5 {
        bench.request(|r| Event::Heartbeat(r, static_claim("s", "s-1", 1)));
        bench.advance(Duration::from_secs(5));
    }
    let joined = bench.joined(newcomer);
    assert_eq!((joined.leader, joined.members.len()), (Some(member("b")), 2));
}

#[test]
fn a_second_process_with_one_static_name_fences_the_join_of_the_first() {
    let mut bench = Bench::default();
    bench.stable(&["a"]);
    let first = bench.join(process("s", "s-1"));
    assert!(bench.waits(first));
    let second = bench.join(process("s", "s-2"));
    assert_eq!(bench.refused(first), GroupError::FencedInstance);
    bench.join(known("a"));
    assert_eq!(bench.joined(second).member, member("s-2"));
}

#[test]
fn an_administrator_removes_a_static_member_by_its_name() {
    let mut bench = Bench::default();
    stable_with_static(&mut bench);
    let by_name = |name| Leaving { member: None, instance: Some(InstanceId::new(name)) };
    assert_eq!(bench.leave(by_name("other")), Err(GroupError::UnknownMember));
    assert_eq!(bench.leave(by_name("s")), Ok(()));
    assert_eq!(bench.classic().members().collect::<Vec<_>>(), [&member("a")]);
    let wrong = Leaving { member: Some(member("a")), instance: Some(InstanceId::new("s")) };
    assert_eq!(bench.leave(wrong), Err(GroupError::UnknownMember));
}
