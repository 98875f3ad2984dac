//! What goes to the log: offsets and assignments, before anyone sees them, and after a restart.

use super::*;

#[test]
fn only_members_commit_while_there_are_any() {
    let nobody = Claim { member: None, instance: None, generation: None };
    let mut bench = Bench::default();
    assert_eq!(bench.commit(nobody.clone(), 1), Ok(()), "an empty group takes plain commits");
    let stranger = Claim { member: Some(member("s")), instance: None, generation: None };
    assert_eq!(bench.commit(stranger.clone(), 1), Ok(()), "by whatever name");
    let generation = bench.stable(&["a"]);
    assert_eq!(bench.commit(nobody.clone(), 2), Err(GroupError::UnknownMember));
    assert_eq!(bench.commit(stranger, 2), Err(GroupError::UnknownMember));
    assert_eq!(bench.commit(claim("a", generation), 3), Ok(()));
    bench.join(joining("b"));
    assert_eq!(bench.commit(claim("a", generation), 4), Ok(()), "before it rejoins");
    bench.join(known("a"));
    let completing = bench.commit(claim("a", generation + 1), 5);
    assert_eq!(completing, Err(GroupError::RebalanceInProgress));
    let (stream, index) = partition(0);
    let found = bench.group.offsets().get(&stream, index).map(|committed| committed.offset);
    assert_eq!(found, Some(Offset::new(4)), "refused commits leave no trace");
}

#[test]
fn a_text_beside_an_offset_is_at_most_4096_bytes_long() {
    let mut bench = Bench::default();
    let bytes_max = GroupLimits::default().metadata_bytes_max;
    assert_eq!(bytes_max, 4_096);
    let offsets = vec![
        (partition(0), committed(7, &"m".repeat(bytes_max))),
        (partition(1), committed(7, &"m".repeat(bytes_max + 1))),
    ];
    let claim = Claim { member: None, instance: None, generation: None };
    let request = bench.request(|r| Event::Commit(r, Commit { claim, offsets }));
    let expected = vec![Ok(()), Err(CommitError::MetadataTooLarge)];
    assert_eq!(bench.replies.remove(&request), Some(Reply::Commit(Ok(expected))));
    assert_eq!(bench.group.offsets().iter().count(), 1);
}

#[test]
fn a_commit_shows_only_once_it_is_logged() {
    for (outcome, expected) in [(Ok(()), Some(Offset::new(9))), (Err(NotWritten), None)] {
        let mut bench = Bench::slow_log();
        let claim = Claim { member: None, instance: None, generation: None };
        let offsets = vec![(partition(0), committed(9, ""))];
        let request = bench.request(|r| Event::Commit(r, Commit { claim, offsets }));
        let (stream, index) = partition(0);
        assert!(bench.waits(request));
        assert_eq!(bench.group.offsets().get(&stream, index), None);
        bench.write_next(outcome);
        let found = bench.group.offsets().get(&stream, index).map(|committed| committed.offset);
        assert_eq!(found, expected);
        let reply = bench.replies.remove(&request).expect("answered");
        assert_eq!(matches!(reply, Reply::Commit(Ok(_))), outcome.is_ok());
    }
}

#[test]
fn deleting_a_stream_covers_commits_that_are_on_their_way() {
    let mut bench = Bench::slow_log();
    let claim = Claim { member: None, instance: None, generation: None };
    let offsets = vec![(partition(0), committed(9, ""))];
    bench.request(|r| Event::Commit(r, Commit { claim, offsets }));
    let (stream, index) = partition(0);
    let forgotten = bench.request(|r| Event::ForgetStream(r, stream.clone(), stream_id(1)));
    bench.write_next(Ok(()));
    assert!(bench.waits(forgotten));
    bench.write_next(Ok(()));
    assert_eq!(bench.replies.remove(&forgotten), Some(Reply::Forgotten(Ok(()))));
    assert_eq!(bench.group.offsets().get(&stream, index), None);
    assert_eq!(bench.logged.last(), Some(&GroupRecord::Offset(partition(0), None)));
}

#[test]
fn deleting_a_stream_spares_offsets_of_its_successor() {
    for successor_is_logged in [false, true] {
        let mut bench = Bench::slow_log();
        let claim = Claim { member: None, instance: None, generation: None };
        let (stream, index) = partition(0);
        for id in [1, 2] {
            let committed = CommittedOffset { stream: Some(stream_id(id)), ..committed(9, "") };
            let commit = Commit { claim: claim.clone(), offsets: vec![(partition(0), committed)] };
            bench.request(|r| Event::Commit(r, commit));
        }
        if successor_is_logged {
            bench.write_next(Ok(()));
            bench.write_next(Ok(()));
        }
        let forgotten = bench.request(|r| Event::ForgetStream(r, stream.clone(), stream_id(1)));
        assert_eq!(bench.replies.remove(&forgotten), Some(Reply::Forgotten(Ok(()))));
        while !bench.unwritten.is_empty() {
            bench.write_next(Ok(()));
        }
        let found = bench.group.offsets().get(&stream, index).and_then(|found| found.stream);
        assert_eq!(found, Some(stream_id(2)));
    }
}

#[test]
fn assignments_are_handed_out_only_once_they_are_logged() {
    let mut bench = Bench::slow_log();
    bench.join(joining("a"));
    let leader = bench.sync("a", 1, &[("a", "all")]);
    assert!(bench.waits(leader));
    let retried = bench.sync("a", 1, &[("a", "other")]);
    assert_eq!(bench.refused(leader), GroupError::RebalanceInProgress, "it was sent again");
    assert_eq!(bench.unwritten.len(), 1, "the second sync does not log again");
    bench.write_next(Ok(()));
    assert_eq!(bench.assignment(retried), "all");
}

#[test]
fn assignments_that_cannot_be_logged_send_everybody_back_to_join() {
    let mut bench = Bench::slow_log();
    bench.join(joining("a"));
    let leader = bench.sync("a", 1, &[("a", "all")]);
    bench.write_next(Err(NotWritten));
    assert_eq!(bench.refused(leader), GroupError::NotAvailable);
    assert_eq!(bench.heartbeat("a", 1), Err(GroupError::RebalanceInProgress));
    let again = bench.join(known("a"));
    assert_eq!(bench.joined(again).generation, 2);
}

#[test]
fn assignments_of_a_generation_that_has_passed_are_not_handed_out() {
    let mut bench = Bench::slow_log();
    bench.join(joining("a"));
    let leader = bench.sync("a", 1, &[("a", "all")]);
    bench.join(joining("b"));
    assert_eq!(bench.refused(leader), GroupError::RebalanceInProgress);
    let again = bench.join(known("a"));
    assert_eq!(bench.joined(again).generation, 2);
    let next = bench.sync("a", 2, &[("a", "half")]);
    bench.write_next(Ok(()));
    assert!(bench.waits(next), "the first generation's record must not answer the second's sync");
    bench.write_next(Ok(()));
    assert_eq!(bench.assignment(next), "half");
}

#[test]
fn assignments_above_the_limit_are_refused() {
    let mut bench = Bench::default();
    bench.join(joining("a"));
    let huge = "x".repeat(crate::group::records::GROUP_IMAGE_BYTES_MAX);
    let leader = bench.sync("a", 1, &[("a", huge.as_str())]);
    assert_eq!(bench.refused(leader), GroupError::TooLarge);
    assert!(bench.logged.is_empty());
}

#[test]
fn a_restart_finds_members_assignments_and_offsets_and_then_expires_the_silent() {
    let mut bench = Bench::default();
    let generation = bench.stable(&["a", "b"]);
    bench.commit(claim("a", generation), 12).expect("a member's commit");
    let mut restarted = Bench::default();
    for record in bench.logged.clone() {
        restarted.group.replay(record);
    }
    restarted.step(Event::Loaded);
    assert!(restarted.is_stable());
    assert_eq!(restarted.heartbeat("a", generation), Ok(()));
    let synced = restarted.sync("b", generation, &[]);
    assert_eq!(restarted.assignment(synced), "b");
    let (stream, index) = partition(0);
    let found = restarted.group.offsets().get(&stream, index).map(|found| found.offset);
    assert_eq!(found, Some(Offset::new(12)));
    restarted.advance(SESSION);
    assert_eq!(restarted.classic().phase(), Phase::Empty);
}
