//! The graph for people: as text and for Graphviz.

use std::fmt::Write as _;

use super::{CopySource, FileAction, Op, Plan, Vertex, VertexId};

/// Returns the plan as text: one line a vertex, with the numbers of the vertices that it needs.
pub fn plan_text(plan: &Plan) -> String {
    let mut text = String::new();
    for (id, vertex) in plan.graph.iter() {
        let mut inputs: Vec<_> = vertex.inputs().iter().map(|id| id.0).collect();
        inputs.sort_unstable();
        inputs.dedup();
        let needs = match inputs.as_slice() {
            [] => String::new(),
            ids => {
                format!("  <- {}", ids.iter().map(u32::to_string).collect::<Vec<_>>().join(", "))
            }
        };
        let mark = if is_result(plan, id) { '*' } else { ' ' };
        let _ = writeln!(text, "{mark}{:>3}  {}{needs}", id.0, vertex.name);
    }
    for image in plan.images.iter().filter(|image| image.result.is_none()) {
        let _ = match plan.images.len() {
            1 => writeln!(text, "the image has no layers"),
            _ => writeln!(text, "the image for {} has no layers", image.platform),
        };
    }
    text
}

fn is_result(plan: &Plan, id: VertexId) -> bool {
    plan.images.iter().any(|image| image.result == Some(id))
}

/// Returns the plan as a Graphviz digraph: arrows point from what is needed to what needs it; a dashed arrow is
/// something other than the file system that is built upon.
pub fn plan_dot(plan: &Plan) -> String {
    let mut text = String::from(
        "digraph plan {\n  rankdir=BT;\n  node [fontname=\"monospace\", fontsize=10];\n",
    );
    for (id, vertex) in plan.graph.iter() {
        let bold = if is_result(plan, id) { ", penwidth=3" } else { "" };
        let _ = writeln!(
            text,
            "  v{} [label={}, shape={}{bold}];",
            id.0,
            escape(&vertex.name),
            shape(vertex)
        );
        let mut seen = std::collections::BTreeSet::new();
        for input in vertex.inputs() {
            if seen.insert(input) {
                let style = if vertex.base == Some(input) { "" } else { " [style=dashed]" };
                let _ = writeln!(text, "  v{} -> v{}{style};", input.0, id.0);
            }
        }
    }
    text.push_str("}\n");
    text
}

fn shape(vertex: &Vertex) -> &'static str {
    match &vertex.op {
        Op::Image(_) => "cylinder",
        Op::Files(_) | Op::Http(_) | Op::Git(_) => "folder",
        Op::Run(_) => "box",
        Op::File(file) if file.actions.iter().all(is_inline) => "note",
        Op::File(_) => "component",
    }
}

fn is_inline(action: &FileAction) -> bool {
    match action {
        FileAction::Copy(copy) => matches!(copy.source, CopySource::Inline { .. }),
        FileAction::MakeDirectory { .. } => true,
    }
}

fn escape(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}
