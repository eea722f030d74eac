//! The page itself: its skeleton, and the parts that pages are made of.
//!
//! Every function here takes plain text and escapes it, except where its arguments say `body`, `picture` or `legend`:
//! these are HTML already.

use super::style::STYLE;

/// A text as it may stand in HTML, between tags and in attributes.
pub(super) fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            _ => safe.push(character),
        }
    }
    safe
}

/// A whole page. Its policy forbids scripts and everything from elsewhere.
pub(super) fn document(title: &str, body: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang='en'>\n<head>\n<meta charset='utf-8'>\n\
         <meta name='viewport' content='width=device-width, initial-scale=1'>\n\
         <meta http-equiv='Content-Security-Policy' content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <title>{}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n{body}</main>\n</body>\n</html>\n",
        escape(title)
    )
}

/// A part of the page with a heading.
pub(super) fn section(id: &str, heading: &str, body: &str) -> String {
    format!(
        "<section id='{id}' aria-labelledby='{id}-heading'>\n<h2 id='{id}-heading'>{}</h2>\n{body}</section>\n",
        escape(heading)
    )
}

/// A heading within a part.
pub(super) fn heading(text: &str) -> String {
    format!("<h3>{}</h3>\n", escape(text))
}

/// A paragraph.
pub(super) fn paragraph(text: &str) -> String {
    format!("<p>{}</p>\n", escape(text))
}

/// A sentence in place of a picture that has nothing to show.
pub(super) fn absent(sentence: &str) -> String {
    format!("<p class='absent'>{}</p>\n", escape(sentence))
}

/// A picture, its legend, and how to read it.
pub(super) fn figure(picture: &str, legend: &str, caption: &str) -> String {
    format!("<figure>\n{legend}{picture}<figcaption>{}</figcaption>\n</figure>\n", escape(caption))
}

/// Pictures beside each other where there is room.
pub(super) fn side_by_side(body: &str) -> String {
    format!("<div class='pair'>\n{body}</div>\n")
}

/// What can be copied: a command, a file.
pub(super) fn copyable(text: &str) -> String {
    format!("<pre class='copy'><code>{}</code></pre>\n", escape(text))
}

/// What is hidden until somebody opens it.
pub(super) fn folded(summary: &str, body: &str) -> String {
    format!("<details>\n<summary>{}</summary>\n{body}</details>\n", escape(summary))
}

/// A figure that stands out.
#[derive(Clone, Debug)]
pub(super) struct Tile {
    /// What it counts or measures.
    pub(super) name: &'static str,
    /// The number.
    pub(super) value: String,
    /// What to know about it; empty for nothing.
    pub(super) note: String,
}

/// Figures that stand out, in a grid.
pub(super) fn tiles(tiles: &[Tile]) -> String {
    let mut out = String::from("<dl class='tiles'>\n");
    for tile in tiles {
        let note = match tile.note.as_str() {
            "" => String::new(),
            note => format!("<dd class='note'>{}</dd>", escape(note)),
        };
        out += &format!("<div><dt>{}</dt><dd>{}</dd>{note}</div>\n", escape(tile.name), escape(&tile.value));
    }
    out + "</dl>\n"
}

/// Facts: names and what they are.
pub(super) fn facts(facts: &[(&str, String)]) -> String {
    let mut out = String::from("<dl class='facts'>\n");
    for (name, fact) in facts {
        out += &format!("<div><dt>{}</dt><dd>{}</dd></div>\n", escape(name), escape(fact));
    }
    out + "</dl>\n"
}

/// A cell of a table.
#[derive(Clone, Debug)]
pub(super) struct Cell {
    text: String,
    right: bool,
    mark: &'static str,
}

impl Cell {
    /// Words, on the left.
    pub(super) fn words(text: impl Into<String>) -> Self {
        Cell { text: text.into(), right: false, mark: "" }
    }

    /// A number, on the right.
    pub(super) fn number(text: impl Into<String>) -> Self {
        Cell { text: text.into(), right: true, mark: "" }
    }

    /// The same cell with a class of the style.
    pub(super) fn marked(self, mark: &'static str) -> Self {
        Cell { mark, ..self }
    }
}

/// A table. A column is on the right if its first cell is.
pub(super) fn table(head: &[&str], rows: &[Vec<Cell>]) -> String {
    let right = |at: usize| rows.first().and_then(|row| row.get(at)).is_some_and(|cell| cell.right);
    let mut out = String::from("<div class='scroll' tabindex='0'><table>\n<thead><tr>");
    for (at, name) in head.iter().enumerate() {
        let class = if right(at) { " class='n'" } else { "" };
        out += &format!("<th scope='col'{class}>{}</th>", escape(name));
    }
    out += "</tr></thead>\n<tbody>\n";
    for row in rows {
        let cells: String = row.iter().map(cell_html).collect();
        out += &format!("<tr>{cells}</tr>\n");
    }
    out + "</tbody>\n</table></div>\n"
}

fn cell_html(cell: &Cell) -> String {
    let class = match (cell.right, cell.mark) {
        (false, "") => String::new(),
        (true, mark) => format!(" class='n {mark}'"),
        (false, mark) => format!(" class='{mark}'"),
    };
    format!("<td{class}>{}</td>", escape(&cell.text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_become_a_tag_or_leave_an_attribute() {
        assert_eq!(escape("<b a='1' b=\"2\">&"), "&lt;b a=&#39;1&#39; b=&quot;2&quot;&gt;&amp;");
        let parts = [
            document("<i>", ""),
            section("id", "<i>", ""),
            figure("", "", "<i>"),
            facts(&[("<i>", "<i>".to_owned())]),
            table(&["<i>"], &[vec![Cell::words("<i>"), Cell::number("<i>").marked("bad")]]),
            [heading("<i>"), paragraph("<i>"), absent("<i>"), copyable("<i>"), folded("<i>", "")].concat(),
        ];
        assert!(parts.iter().all(|part| !part.contains("<i>")));
    }

    #[test]
    fn a_page_asks_for_nothing_from_elsewhere() {
        let page = document("title", "");
        assert!(!page.contains("http://") && !page.contains("https://") && !page.contains("<script"));
        assert!(page.contains("default-src 'none'"));
    }
}
