"""Tables of Vietnamese: units, money, abbreviations, letters. What the rules in vietnamese.py look up."""

from speech.reading.rules import table

UNITS = table("""
km: ki lô mét
hm: héc tô mét
m: mét
dm: đề xi mét
cm: xăng ti mét
mm: mi li mét
µm μm: mi crô mét
nm: na nô mét
km2 km²: ki lô mét vuông
m2 m²: mét vuông
dm2 dm²: đề xi mét vuông
cm2 cm²: xăng ti mét vuông
mm2 mm²: mi li mét vuông
km3 km³: ki lô mét khối
m3 m³: mét khối
dm3 dm³: đề xi mét khối
cm3 cm³: xăng ti mét khối
ha: héc ta
kg: ki lô gam
g gr: gam
mg: mi li gam
µg μg mcg: mi crô gam
l L lít: lít
ml mL: mi li lít
cl: xen ti lít
dl: đề xi lít
s: giây
ms: mi li giây
h: giờ
Hz: héc
kHz: ki lô héc
MHz: mê ga héc
GHz: ghi ga héc
W: oát
kW KW: ki lô oát
MW: mê ga oát
GW: ghi ga oát
Wh: oát giờ
kWh KWh: ki lô oát giờ
mAh: mi li am pe giờ
V: vôn
kV: ki lô vôn
A: am pe
mA: mi li am pe
J: giun
kJ: ki lô giun
cal: ca lo
kcal Kcal: ki lô ca lo
N: niu tơn
Pa: pát can
kPa: ki lô pát can
dB: đề xi ben
kB KB: ki lô bai
MB: mê ga bai
GB: ghi ga bai
TB: tê ra bai
Mbps: mê ga bít trên giây
Gbps: ghi ga bít trên giây
kbps: ki lô bít trên giây
px: pích xeo
fps: khung hình trên giây
rpm: vòng trên phút
kmh: ki lô mét trên giờ
mph: dặm trên giờ
inch in: inh
ft: phít
lb: pao
oz: ao xơ
""")
PER = table("""
h: giờ
s: giây
ph phút p min: phút
ngày: ngày
tháng: tháng
năm: năm
người: người
lần: lần
""")
MONEY = table("""
đ ₫ đồng VND VNĐ vnd vnđ Đ: đồng
$ USD US$ usd: đô la
€ EUR eur: ơ rô
£ GBP: bảng anh
¥ JPY: yên
CNY NDT: nhân dân tệ
₩ KRW: uôn
THB ฿: bạt
AUD: đô la úc
SGD: đô la sing ga po
""")
SCALES = table("""
k K: nghìn
tr Tr TR triệu: triệu
tỷ tỉ: tỷ
nghìn: nghìn
ngàn: ngàn
M: triệu
B: tỷ
trăm: trăm
""")
LETTERS = table("""
b: bê
c: xê
d: dê
đ: đê
f: ép
g: gờ
h: hát
j: gi
k: ca
l: lờ
m: mờ
n: nờ
p: pê
q: quy
r: rờ
s: ét
t: tê
v: vê
w: vê kép
x: ích
z: dét
""")
ABBREVIATIONS = table("""
TP.HCM TPHCM TP.Hồ_Chí_Minh Tp.HCM TP_HCM: thành phố Hồ Chí Minh
HCM: Hồ Chí Minh
UBND: uỷ ban nhân dân
HĐND: hội đồng nhân dân
UBTVQH: uỷ ban thường vụ quốc hội
HĐQT: hội đồng quản trị
MTTQ: mặt trận tổ quốc
GS: giáo sư
PGS: phó giáo sư
TS: tiến sĩ
ThS Ths: thạc sĩ
BS: bác sĩ
LS: luật sư
KS: kỹ sư
DS: dược sĩ
NSND: nghệ sĩ nhân dân
NSƯT: nghệ sĩ ưu tú
NGND: nhà giáo nhân dân
NGƯT: nhà giáo ưu tú
ĐH: đại học
CĐ: cao đẳng
ĐHQG: đại học quốc gia
ĐHBK: đại học bách khoa
THPT: trung học phổ thông
THCS: trung học cơ sở
GD&ĐT GDĐT: giáo dục và đào tạo
CLB: câu lạc bộ
HLV: huấn luyện viên
CSGT: cảnh sát giao thông
PCCC: phòng cháy chữa cháy
CSĐT: cảnh sát điều tra
ATGT: an toàn giao thông
TNGT: tai nạn giao thông
VN: Việt Nam
HN: Hà Nội
TW TƯ: trung ương
BCH: ban chấp hành
BCT: bộ chính trị
ĐBQH: đại biểu quốc hội
QĐ: quyết định
NĐ: nghị định
NQ: nghị quyết
NXB: nhà xuất bản
TNHH: trách nhiệm hữu hạn
CTCP: công ty cổ phần
DN: doanh nghiệp
DNNN: doanh nghiệp nhà nước
NHNN: ngân hàng nhà nước
NLĐ: người lao động
BHYT: bảo hiểm y tế
BHXH: bảo hiểm xã hội
BHTN: bảo hiểm thất nghiệp
BĐS: bất động sản
KCN: khu công nghiệp
KĐT: khu đô thị
KTX: ký túc xá
BV: bệnh viện
XHCN: xã hội chủ nghĩa
CHXHCN: cộng hoà xã hội chủ nghĩa
LĐTBXH: lao động thương binh và xã hội
CNTT: công nghệ thông tin
CMND: chứng minh nhân dân
CCCD: căn cước công dân
GTVT: giao thông vận tải
KHCN: khoa học công nghệ
TDTT: thể dục thể thao
ĐTQG: đội tuyển quốc gia
LĐBĐ: liên đoàn bóng đá
SĐT ĐT: số điện thoại
SN: sinh năm
TV: ti vi
VĐV: vận động viên
SV: sinh viên
HS: học sinh
GV: giáo viên
NV: nhân viên
PV: phóng viên
TPCN: thực phẩm chức năng
VSATTP: vệ sinh an toàn thực phẩm
HTX: hợp tác xã
QL: quốc lộ
TL: tỉnh lộ
ĐCSVN: đảng cộng sản Việt Nam
THVN: truyền hình Việt Nam
""")
DOTTED = table("""
TP. Tp. tp.: thành phố
TX. Tx.: thị xã
TT.: thị trấn
Q.: quận
P.: phường
H.: huyện
X.: xã
T.: tỉnh
Ô.: ông
B.: bà
v.v... v.v.. v.v. v.v v..v vv.: vân vân
VD: ví dụ
vd: ví dụ
tr.: trang
Tr.: trang
Đ/c đ/c: đồng chí
""")
SYMBOLS = {
    "&": "và",
    "=": "bằng",
    "+": "cộng",
    "×": "nhân",
    "÷": "chia",
    "<=": "nhỏ hơn hoặc bằng",
    "≤": "nhỏ hơn hoặc bằng",
    ">=": "lớn hơn hoặc bằng",
    "≥": "lớn hơn hoặc bằng",
    "≠": "khác",
    "≈": "xấp xỉ",
    "<": "nhỏ hơn",
    ">": "lớn hơn",
    "±": "cộng trừ",
    "√": "căn bậc hai của",
    "∞": "vô cùng",
    "→": "đến",
    "%": "phần trăm",
    "‰": "phần nghìn",
    "°": "độ",
    "@": "a còng",
    "§": "mục",
    "²": "bình phương",
    "³": "lập phương",
    "$": "đô la",
    "€": "ơ rô",
    "£": "bảng anh",
    "₫": "đồng",
}
ROMAN_AFTER = (
    "thế kỷ|thế kỉ|chương|phần|khoá|khóa|kỳ|kì|quý|tập|quyển|điều|mục|thứ|đại hội|thế chiến|chiến|loại|cấp|hạng|bậc"
    "|đời|vòng|hồi|cảnh|bài|nhóm|bảng|phụ lục|tk|lần|giai đoạn|khu|vùng|quân khu|mức|độ|type"
)
