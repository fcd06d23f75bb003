"""What names of a user's data would do to a Markdown page or to LaTeX, they do not do."""

from __future__ import annotations

from operator import itemgetter

import pytest

from mmbench.report.layout import Column, Document, Table, csv, latex, markdown, md, terminal, tex, text_table


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a|b", r"a\|b"),
        (r"a\|b", r"a\\\|b"),
        ("`rm`", r"\`rm\`"),
        ("two\nlines\r\nthree", "two lines three"),
        ("<script>x</script>", r"\<script>x\</script>"),
        ("<!-- x", r"\<!-- x"),
        ("<img src=x>", r"\<img src=x>"),
        ("[x](http://e)", r"[x\](http\://e)"),
        ("![x](y)", r"![x\](y)"),
        ("[x][y]", r"[x\][y]"),
        ("[x]: http://e", r"[x\]: http\://e"),
        ("www.example.org", r"www\.example.org"),
        ("&lt;b&gt;", r"\&lt;b\&gt;"),
        ("&#60;b", r"\&#60;b"),
        ("*a* **b** ~c~ ~~d~~", r"\*a\* \*\*b\*\* \~c\~ \~\~d\~\~"),
        ("_a_ __b__ c_ d__e", r"\_a\_ \_\_b\_\_ c\_ d\_\_e"),
        # What tables say every day stays readable.
        ("+1.2 [−0.3, +2.7], p < 0.05, R&D", "+1.2 [−0.3, +2.7], p < 0.05, R&D"),
        ("fused_vs_text: 3 %", "fused_vs_text: 3 %"),
        ("text_shuffled_image, 商品_画像", "text_shuffled_image, 商品_画像"),
    ],
)
def test_markdown_shows_text_as_text(text: str, shown: str) -> None:
    assert md(text) == shown
    table = text_table("<b>", ["name"], [[text]])
    page = markdown(Document("a | b", [table], [text]))
    assert page == f"# a \\| b\n\n## \\<b>\n\n| name |\n| --- |\n| {shown} |\n\n- {shown}\n"


def test_latex_shows_text_as_text() -> None:
    rows = [["[1]", "50 % of $x_1$"], ["*a*", "[2, 3]"], ["two\n\nparagraphs", r"\input{x}"]]
    body = latex(Document("", [text_table("a\n\nb", ["name", "value"], rows)], []))
    assert r"\caption{a  b}" in body
    assert body[body.index("midrule") : body.index("\n\\bottomrule")].splitlines()[1:] == [
        r"{}[1] & 50 \% of \$x\_1\$ \\",
        r"{}*a* & [2, 3] \\",
        r"two  paragraphs & \textbackslash{}input\{x\} \\",
    ]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a|b", r"a\textbar{}b"),  # a dash in the plain font
        ("--every-chart", "-{}-every-chart"),
        ("a---b", "a-{}-{}-b"),
        ("well-known", "well-known"),
    ],
)
def test_latex_shows_bars_and_hyphens_as_they_are(text: str, shown: str) -> None:
    assert tex(text) == shown


def test_a_terminal_shows_text_as_text() -> None:
    columns = [Column(None, "[1]", itemgetter(0), names=True), Column(None, "[2]", itemgetter(1))]
    document = Document("", [Table("[b]a:star:", columns, [("x[v2]:star:", "[3]")])], ["[i]n:star:"])
    words = terminal(document).replace("─", " ").split()
    assert words == ["[b]a:star:", "[1]", "[2]", "x[v2]:star:", "[3]", "[i]n:star:"]


def test_csv_quotes_what_a_spreadsheet_would_run() -> None:
    columns = [Column("name", None, itemgetter(0)), Column("value", None, itemgetter(1))]
    rows = [("=1+1", -1.3), ("-", None), ("@x", "-0.5 0.2")]
    assert csv(Document("", [Table("", columns, rows)], [])) == "name,value\n'=1+1,-1.3\n-,\n'@x,-0.5 0.2\n"
