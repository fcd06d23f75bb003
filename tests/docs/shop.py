"""Files of a Japanese shop, for the pages on a company's path: ``python -m tests.docs.shop FOLDER [KIND]``.

A planted world whose texts and pictures each carry information of their own. The files are CP932 and have the usual
problems: full-width codes, returns, lines without a member, dates like 2024/1/5. ``kanji`` writes the same shop as an
older system does: headers of kanji alone below a title, years of an era, counts like 1個 and ▲1, returns of what was
bought before, and a list in UTF-8 whose codes have lost their zeros. ``workbook`` writes one workbook of two sheets.
"""

from __future__ import annotations

import colorsys
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from mmbench.data.planted import make_world

USERS, ITEMS, BOUGHT = 1800, 400, 10
ORDERS, PRODUCTS, ENCODING = "受注.csv", "商品マスタ.csv", "cp932"
ORDER_LINE = ("受注番号", "会員番号", "商品コード", "数量", "受注日")
PRODUCT = ("商品コード", "商品名", "商品説明")
#: Words for the low and the high half of each factor that the text describes.
WORDS = (
    "卓上ライト/コーヒーカップ", "木製/スチール製", "丸型/角型", "軽量/重厚", "室内用/屋外用", "つや消し/光沢",
    "無地/柄入り", "低め/高め", "折りたたみ式/固定式", "贈答箱入り/詰め替え用", "丸洗い可/拭き取り式",
    "北欧風/昭和レトロ", "一人用/家族用", "手作り/量産品", "輸入品/国産", "普段使い/行事用",
)  # fmt: skip


def write_shop(folder: Path) -> None:
    """Write order lines, the list of products and ``images/<code>.png`` into a folder."""
    source = make_world("complementary", n_users=USERS, n_items=ITEMS, per_user=BOUGHT, popularity_sd=0.8)
    rng = np.random.default_rng(1)
    codes = np.array([f"{number:05d}" for number in 70 + 13 * rng.permutation(ITEMS)])
    (folder / "images").mkdir(parents=True)
    described = np.hstack([source.truth["factors_shared"], source.truth["factors_text"]]) > 0
    seen = np.hstack([source.truth["factors_shared"][:, :3], source.truth["factors_image"]])
    for code, factors in zip(codes, seen, strict=True):
        picture(factors).save(folder / "images" / f"{code}.png")
    items = pd.DataFrame([(code, *texts(high)) for code, high in zip(codes, described, strict=True)], columns=PRODUCT)
    items.to_csv(folder / PRODUCTS, index=False, encoding=ENCODING)
    order_lines(source.log, codes, rng).to_csv(folder / ORDERS, index=False, encoding=ENCODING)


def write_kanji_shop(folder: Path) -> None:
    """The shop as an older system writes it."""
    write_shop(folder)
    lines = pd.read_csv(folder / ORDERS, encoding=ENCODING, dtype=str, keep_default_na=False)
    day = pd.to_datetime(lines["受注日"], format="%Y/%m/%d")
    lines["受注日"] = [f"令和{d.year - 2018}年{d.month}月{d.day}日" for d in day]
    bought = lines[lines["数量"] != "-1"].iloc[::20]
    back = bought.assign(数量="-1", 受注番号="9" + bought["受注番号"], 受注日="R7.12.31")
    lines = pd.concat([lines, back], ignore_index=True)
    lines["数量"] = ["▲1" if n == "-1" else f"{n}個" for n in lines["数量"]]
    lines["金額"] = [("▲" if n.startswith("▲") else "") + "1,200" for n in lines["数量"]]
    lines.columns = pd.Index(["受注番号", "顧客番号", "品番", "数量", "受注日", "金額"])
    text = "受注一覧\n\n" + lines.to_csv(index=False)
    (folder / ORDERS).write_bytes(text.encode(ENCODING))
    items = pd.read_csv(folder / PRODUCTS, encoding=ENCODING, dtype=str)
    items.columns = pd.Index(["品番", "商品名", "商品説明"])
    items["品番"] = items["品番"].str.lstrip("0")
    items.to_csv(folder / PRODUCTS, index=False, encoding="utf-8-sig")


def write_workbook_shop(folder: Path) -> None:
    """The shop as one workbook."""
    write_shop(folder)
    with pd.ExcelWriter(folder / "店.xlsx", engine="openpyxl") as book:
        for name, file in (("受注", ORDERS), ("商品マスタ", PRODUCTS)):
            pd.read_csv(folder / file, encoding=ENCODING, dtype=str).to_excel(book, sheet_name=name, index=False)
            (folder / file).unlink()


def texts(high: NDArray[np.bool_]) -> tuple[str, str]:
    """Name and description of a product from the halves in which its factors lie, ``(16,)``."""
    words = [pair.split("/")[int(half)] for pair, half in zip(WORDS, high, strict=True)]
    name = " ".join([*words[1:3], words[0]])
    return name, "、".join(words[3:])


def order_lines(log: pd.DataFrame, codes: NDArray[np.str_], rng: np.random.Generator) -> pd.DataFrame:
    """Order lines of two years: order, customer, product, quantity and day, with the usual errors of such files."""
    day = pd.Timestamp("2024-01-01") + pd.to_timedelta(np.sort(rng.integers(0, 730, len(log))), unit="D")
    shuffled = log.iloc[rng.permutation(len(log))]
    number = shuffled["item_id"].str[1:].astype(int).to_numpy()
    customers = "M" + shuffled["user_id"].str[2:]
    lines = pd.DataFrame(
        {
            "order": np.arange(len(log)) // 2 + 500_001,
            "customer": customers.to_numpy(),
            "product": codes[number],
            "quantity": rng.choice([1, 1, 1, 2, 3], len(log)),
            "day": [f"{d.year}/{d.month}/{d.day}" for d in day],
        }
    )
    returned, anonymous, wide = np.split(rng.permutation(len(log))[:150], [100, 130])
    lines.loc[returned, "quantity"] = -1
    lines.loc[anonymous, "customer"] = ""
    full = str.maketrans("0123456789", "０１２３４５６７８９")
    lines.loc[wide, "product"] = lines.loc[wide, "product"].str.translate(full)
    return lines.set_axis(ORDER_LINE, axis=1)


def picture(factors: NDArray[np.float64]) -> Image.Image:
    """A drawn product whose colour, shape, size, ground and pattern show its factors, ``(11,)``."""
    squeezed = 1 / (1 + np.exp(-1.5 * factors))
    hue, ground, size, corner, stripes, dot, frame, tone = squeezed[3:]
    colour = colour_of(hue, 0.75, 0.45 + 0.5 * tone)
    made = Image.new("RGB", (160, 160), colour_of(0.12, 0.1, 0.5 + 0.5 * ground))
    draw = ImageDraw.Draw(made)
    half = 25 + 45 * size
    box = (80 - half, 80 - half * (0.5 + squeezed[1]), 80 + half, 80 + half * (0.5 + squeezed[1]))
    draw.rounded_rectangle(box, radius=half * corner, fill=colour, outline="black", width=1 + int(8 * frame))
    for x in range(int(box[0]) + 4, int(box[2]) - 4, 4 + int(30 * (1 - stripes))):
        draw.line((x, box[1] + 6, x, box[3] - 6), fill="white", width=1 + int(3 * squeezed[2]))
    radius = 4 + 16 * dot
    draw.ellipse((80 - radius, 80 - radius, 80 + radius, 80 + radius), fill=colour_of(1 - hue, squeezed[0], 0.9))
    return made


def colour_of(hue: float, saturation: float, value: float) -> tuple[int, int, int]:
    """A colour in 8 bits."""
    red, green, blue = colorsys.hsv_to_rgb(hue, saturation, value)
    return round(255 * red), round(255 * green), round(255 * blue)


if __name__ == "__main__":
    kinds = {"plain": write_shop, "kanji": write_kanji_shop, "workbook": write_workbook_shop}
    kinds[(sys.argv[2:] or ["plain"])[0]](Path(sys.argv[1]))
