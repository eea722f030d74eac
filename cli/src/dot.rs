//! A room's events as a graph in Graphviz's DOT: what each one refers to.

use std::collections::BTreeSet;

use rocketmesh_node::api::types::EventView;

use crate::describe::sender;
use crate::text::{clean, clock, excerpt, short_id};

/// The most characters of a foreign text in a label.
const LABEL_CHARACTERS: usize = 32;

const SELF_PARENT: &str = "style=bold, color=black";
const PARENT: &str = "style=solid, color=steelblue";
const STATE_FRONTIER: &str = "style=dashed, color=darkorange";

/// The graph of `events`. An arrow goes from an event to what it refers to: bold to the one before it in its server's
/// chain, solid to its timeline parents, dashed to its state frontier. State events are boxes, rejected ones red; an
/// event that is only referred to is a grey point.
pub(crate) fn graph(events: &[EventView]) -> String {
    let mut dot = String::from("digraph room {\n  rankdir=RL;\n  node [fontname=\"sans-serif\", fontsize=10];\n");
    let shown: BTreeSet<&str> = events.iter().map(|event| event.id.as_str()).collect();
    let mut elsewhere = BTreeSet::new();
    for event in events {
        dot.push_str(&node(event));
        for (target, style) in references(event) {
            if !shown.contains(target) {
                elsewhere.insert(target);
            }
            dot.push_str(&format!("  {} -> {} [{style}];\n", quoted(&event.id), quoted(target)));
        }
    }
    for id in elsewhere {
        let label = quoted(&short_id(id));
        dot.push_str(&format!("  {} [shape=point, color=grey, xlabel={label}];\n", quoted(id)));
    }
    dot.push_str("}\n");
    dot
}

fn node(event: &EventView) -> String {
    let shape = if event.lane == "state" { "box" } else { "ellipse" };
    let colour = if event.accepted { "" } else { ", color=red, fontcolor=red" };
    let label = [
        format!("{} {}", excerpt(&event.kind, LABEL_CHARACTERS), event.seq),
        format!("{} {}", clock(event.time_ms), excerpt(&sender(event), LABEL_CHARACTERS)),
        short_id(&event.id),
    ];
    let label = label.map(|line| escaped(&line)).join("\\n");
    format!("  {} [label=\"{label}\", shape={shape}{colour}];\n", quoted(&event.id))
}

fn references(event: &EventView) -> impl Iterator<Item = (&str, &'static str)> {
    let self_parent = event.self_parent.iter().map(|id| (id.as_str(), SELF_PARENT));
    let parents = event.parents.iter().map(|id| (id.as_str(), PARENT));
    let frontier = event.state_frontier.iter().map(|id| (id.as_str(), STATE_FRONTIER));
    self_parent.chain(parents).chain(frontier)
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", escaped(text))
}

/// Foreign text inside of a quoted string, where backslashes begin DOT's own escapes.
fn escaped(text: &str) -> String {
    clean(text).replace('\\', "\\\\").replace('"', "\\\"")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::describe::example;

    fn event(id: &str) -> EventView {
        example(id, "message")
    }

    #[test]
    fn each_kind_of_reference_has_its_own_style() {
        let reply = EventView {
            self_parent: Some("a".to_owned()),
            parents: vec!["b".to_owned()],
            state_frontier: vec!["c".to_owned()],
            ..event("d")
        };
        let dot = graph(&[event("a"), event("b"), event("c"), reply]);
        for edge in [
            format!("\"d\" -> \"a\" [{SELF_PARENT}];"),
            format!("\"d\" -> \"b\" [{PARENT}];"),
            format!("\"d\" -> \"c\" [{STATE_FRONTIER}];"),
        ] {
            assert!(dot.contains(&edge), "{edge} is missing in\n{dot}");
        }
        assert!(!dot.contains("shape=point"), "{dot}");
        assert!(dot.starts_with("digraph room {\n") && dot.ends_with("}\n"));
    }

    #[test]
    fn what_is_only_referred_to_is_a_point() {
        let dot = graph(&[EventView { parents: vec!["older".to_owned()], ..event("d") }]);
        assert!(dot.contains("\"older\" [shape=point, color=grey, xlabel=\"older\"];"), "{dot}");
    }

    #[test]
    fn state_and_rejected_events_look_different() {
        let dot = graph(&[EventView { lane: "state".to_owned(), accepted: false, ..event("s") }]);
        assert!(dot.contains("shape=box, color=red"), "{dot}");
    }

    #[test]
    fn foreign_text_cannot_leave_its_label() {
        let dot = graph(&[EventView { kind: "x\"]; evil [\\N\n".to_owned(), ..event("e") }]);
        assert!(dot.contains("label=\"x\\\"]; evil [\\\\N␊ 0\\n"), "{dot}");
    }

    #[test]
    fn an_empty_room_is_an_empty_graph() {
        assert_eq!(graph(&[]).lines().next_back(), Some("}"));
    }
}
