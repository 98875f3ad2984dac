//! Crash histories: see [`support::history`]. How many is set by `WEIR_SIM_HISTORIES`, a failing
//! one is run again by its `WEIR_SIM_SEED`.

#![allow(clippy::indexing_slicing, reason = "a test may panic")]

mod support;

use support::history::{Trace, run};
use weir_storage::local::Mutation;

fn number_from(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// With `WEIR_SIM_TRACE` set, the log tells what it does.
fn trace_if_asked() {
    if std::env::var_os("WEIR_SIM_TRACE").is_some() {
        // A second test in the process finds it installed.
        let _ = tracing_subscriber::fmt().with_writer(std::io::stderr).try_init();
    }
}

/// Memory that the process holds. Histories that leave some behind show here when there are many.
fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: Option<u64> = line.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
    kib.unwrap_or_default() >> 10
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime")
}

#[test]
fn nothing_answered_or_seen_is_lost() {
    trace_if_asked();
    let runtime = runtime();
    let seeds = match number_from("WEIR_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number_from("WEIR_SIM_HISTORIES").unwrap_or(300),
    };
    let mut total = Trace::default();
    for seed in seeds.clone() {
        match runtime.block_on(run(seed, None)) {
            Ok(trace) => {
                total.operations += trace.operations;
                total.answered += trace.answered;
                total.power_cuts += trace.power_cuts;
            }
            Err(text) => panic!("WEIR_SIM_SEED={seed}: {text}"),
        }
    }
    println!("{} histories, {} MiB resident: {total:?}", seeds.end - seeds.start, resident_mib());
}

#[test]
fn one_seed_is_one_history() {
    let runtime = runtime();
    for seed in 0..20 {
        let [first, second] = [(); 2].map(|()| runtime.block_on(run(seed, None)));
        assert_eq!(first, second, "WEIR_SIM_SEED={seed}");
    }
}

#[test]
fn deliberate_bugs_are_found() {
    let runtime = runtime();
    for mutation in [
        Mutation::AnswerBeforeFlush,
        Mutation::WatermarkBeforeFlush,
        Mutation::NoDirectorySyncAtRoll,
    ] {
        let found = (0..500).find_map(|seed| {
            let result = runtime.block_on(run(seed, Some(mutation)));
            result.err().map(|text| (seed, text))
        });
        let (seed, text) = found.unwrap_or_else(|| panic!("{mutation:?} was not found"));
        println!("{mutation:?} found by seed {seed}: {text}");
    }
}
