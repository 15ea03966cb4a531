"""Vietnamese as people write it: questions, exclamations, lists, short answers, numbers in figures.

Try: python -m train.everyday_vi 20"""

import random
import sys

NAMES = """Lan|Minh|anh Hùng|chị Hoa|bác Tư|cô Mai|chú Nam|bà Sáu|Tuấn|em Thảo|ông Bình|thầy Khánh|Phương|Quỳnh|Đức
Hương|Dũng|Yến|Trang|Sơn""".replace("\n", "|").split("|")
PLACES = """Hà Nội|Sài Gòn|Đà Nẵng|Huế|chợ Bến Thành|nhà ga|bệnh viện|trường học|bưu điện|Cần Thơ|sân bay|hồ Gươm
Đà Lạt|bến xe|công viên|Nha Trang
thư viện|siêu thị|Hải Phòng|quê ngoại""".replace("\n", "|").split("|")
GOODS = """gạo|trứng|nước mắm|cà phê|bánh mì|cá tươi|rau muống|trái cây|sữa|thịt bò|hai vé xe|một chiếc áo|dép
mũ bảo hiểm|sách vở|xoài|chuối|tôm
khăn giấy|phở|trà xanh|bút chì|đường|muối""".replace("\n", "|").split("|")
SHORT = """Vâng ạ.|Không.|Được rồi.|Cảm ơn bạn!|Xin chào.|Tạm biệt nhé!|Chưa đâu.|Đúng vậy.|Tôi không biết.
Xin lỗi anh.|Không sao đâu.|Thật à?|Sao thế?
Đi thôi!|Chờ một chút.|Chúc ngủ ngon.|Tốt lắm!|Để tôi xem.|Hẹn gặp lại.|Rất vui được gặp bạn.|Ừ, được.|Có chứ!|Ai đấy?
Mời vào.|Khoẻ không?""".replace("\n", "|").split("|")
ASK = """{name} đi đâu vậy?|Mấy giờ rồi?|{place} cách đây bao xa?|Bạn có muốn mua {good} không?|Khi nào thì {name} về?
Tại sao {name} không gọi điện?
Làm ơn cho hỏi {place} ở đâu?|{good} này giá bao nhiêu?|Hôm qua bạn làm gì?|Ai đã nói với {name} chuyện đó?
Anh thích {good} hay {good2}?|Chúng ta đợi {name} nhé?
Bạn đã ăn cơm chưa?|Sao hôm nay {name} buồn thế?|Cái nào rẻ hơn, {good} hay {good2}?
Ở {place} thời tiết thế nào?""".replace("\n", "|").split("|")
EXCLAIM = """Trời ơi, đẹp quá!|Chúc mừng sinh nhật {name}!|Cẩn thận kẻo ngã!|Nhanh lên, muộn rồi!|Ngon tuyệt vời!
Đừng quên mua {good} nhé!|Vui quá, {name} đến rồi!
Thôi chết, tôi để quên {good} ở {place}!|Giỏi lắm, {name}!|Nóng quá đi mất!""".replace("\n", "|").split("|")
TELL = """Chúng tôi cần {good}, {good2} và {good3}.|{name}, {name2} và {name3} cùng đi {place}.|Chuyến xe đi {place}
khởi hành lúc {hour} giờ {small} phút.
Giá của nó là {money} đồng.|Năm {year}, {name} chuyển đến {place}.|Hôm nay là ngày {day} tháng {month}.
Nhiệt độ giảm xuống còn {small} độ.|Có khoảng {small}% khách đến từ {place}.
Nhà tôi ở số {small} đường {name}.|{name} sinh ngày {day}/{month}/{year}.|Cuộc họp bắt đầu lúc {hour} giờ sáng.
Từ đây đến {place} khoảng {small} km.
Mỗi sáng {name} uống một ly {good} rồi mới đi làm.|Sau khi tan học, bọn trẻ chạy ra {place} chơi.
Trời mưa suốt đêm nên đường rất trơn.|{name} nói rằng ngày mai sẽ đến {place}.
Nếu rảnh, mời bạn ghé nhà tôi uống trà.|Bà kể cho chúng tôi nghe một câu chuyện cổ tích.
Tuy mệt nhưng {name} vẫn cố gắng làm xong việc.|Mùa hè này gia đình tôi sẽ đi {place}.
Quyển sách ấy nói về những con người bình thường.|Gió thổi nhẹ, lá vàng rơi đầy sân.
{name} vừa mua {good} ở {place} về.|Con đường dẫn ra biển chạy qua những cánh đồng lúa.
Thầy giáo khuyên học sinh nghỉ ngơi và đọc thêm sách.|Ngày xưa, người ta thường đi bộ đến {place} để bán
{good}.""".replace("\n", "|").split("|")


def sentence(draw: random.Random) -> str:
    goods, places, names = draw.sample(GOODS, 3), draw.sample(PLACES, 2), draw.sample(NAMES, 3)
    fill = {f"good{i or ''}": good for i, good in enumerate(goods, 1)} | {"good": goods[0]}
    fill |= {f"name{i or ''}": name for i, name in enumerate(names, 1)} | {"name": names[0], "place": places[0]}
    fill |= {
        "hour": str(draw.randint(1, 12)),
        "small": str(draw.randint(2, 59)),
        "day": str(draw.randint(1, 28)),
        "month": str(draw.randint(1, 12)),
        "year": str(draw.randint(1930, 2030)),
        "money": draw.choice([f"{draw.randint(2, 900)}.000", f"{draw.randint(1, 9)}.{draw.randint(100, 999)}.000"]),
    }
    kind = draw.choices([SHORT, ASK, EXCLAIM, TELL], [0.12, 0.28, 0.15, 0.45])[0]
    said = draw.choice(kind).format(**fill)
    if kind is SHORT:
        said += " " + draw.choice(draw.choice([SHORT, ASK, TELL])).format(**fill)
    return said[0].upper() + said[1:]


if __name__ == "__main__":
    source = random.Random(0)
    for _ in range(int(sys.argv[1])):
        print(sentence(source))
