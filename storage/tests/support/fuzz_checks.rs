//! What holds for every file that is read as a CAR, whoever made it: fuzzed from `fuzz/`, and tested over its corpus.
#![allow(dead_code, unreachable_pub, missing_docs, clippy::unwrap_used)]

use rocketmesh_storage::car::{CarReader, MAX_ROOTS};

/// Reading ends, with no more than was in the file; after an error there is no other event.
pub fn car(bytes: &[u8]) {
    let Ok(reader) = CarReader::new(bytes) else { return };
    assert!(reader.roots().len() <= MAX_ROOTS);
    let (mut blocks, mut size) = (0, 0);
    for block in reader {
        let Ok(block) = block else { break };
        blocks += 1;
        size += block.bytes.len();
    }
    assert!(size <= bytes.len());
    let Ok(reader) = CarReader::new(bytes) else { panic!("what was read once is read again") };
    let (mut events, mut failed) = (0, false);
    for event in reader.events() {
        assert!(!failed, "an event after an error");
        match event {
            Ok(event) => {
                events += 1;
                assert!(event.len() <= bytes.len());
            }
            Err(_) => failed = true,
        }
    }
    assert!(events <= blocks, "{events} events of {blocks} blocks");
}
