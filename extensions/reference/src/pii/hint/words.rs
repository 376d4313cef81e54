//! The words, by what they say. Latin letters fit in any case; others are written as they occur.

use super::Hint;

#[rustfmt::skip]
pub(super) const ALL: &[(Hint, &[&str])] = &[
    (Hint::Phone, &[
        "phone", "phones", "tel", "telephone", "telefon", "téléphone", "teléfono", "telefone", "telefono",
        "telefoon", "mobile", "mobil", "móvil", "movil", "mobiel", "celular", "cellulare", "cell", "cel", "handy",
        "portable", "gsm", "fax", "whatsapp", "whats app", "wa.me", "sms", "text me", "call", "calls",
        "dial", "caller", "callee", "msisdn", "hotline", "rufnummer", "durchwahl", "anrufen", "rückruf", "zurückrufen",
        "appelez", "appeler", "joignable", "llame", "llamar", "llamame", "llámame", "llámeme", "llámenme", "ligue", "ligar", "chiamare",
        "chiama", "chiamami", "zadzwoń", "zadzwonić", "dzwonić", "komórka", "kom.", "puhelin", "kännykkä",
        "telefonnummer", "phone number", "mobile number", "numer telefonu",
        "contact number", "contact_number", "my number", "meine nummer", "mon numéro", "mi número", "mio numero",
        "mój numer", "meu número", "reach me", "erreichbar", "raggiungibile", "me localizar", "pod numerem",
        "我的号码", "私の番号", "내 번호", "мой номер",
        "电话", "手机", "電話", "手機", "座机", "致电", "打给", "来电", "携帯", "ケータイ", "お電話", "전화",
        "휴대폰", "핸드폰", "연락처", "โทร", "มือถือ", "เบอร์", "тел", "Тел", "ТЕЛ", "телефон", "Телефон", "моб",
        "Моб", "звоните", "Звоните", "позвоните", "Позвоните", "фон", "फ़ोन", "फोन", "मोबाइल", "هاتف", "جوال", "تلفون",
        "טלפון", "נייד", "điện thoại", "τηλ", "Τηλ",
    ]),
    (Hint::Card, &[
        "card", "cards", "creditcard", "ccnum", "karte", "kreditkarte", "carte", "tarjeta", "cartão", "cartao",
        "carta di credito", "carta", "karta", "kartą", "karty", "kort", "kaart", "visa", "mastercard", "amex",
        "american express", "maestro", "discover", "diners", "jcb", "unionpay", "rupay", "cvc", "cvv", "pan",
        "debit", "kredit", "credit", "cc", "kartennummer", "kartennr",
        "payment", "paid", "charged", "zahlung", "bezahlt", "belastet", "paiement", "payé", "débité", "pago", "pagué",
        "pagamento", "pagato", "paguei", "płatność", "zapłacono", "exp", "expiry", "expires", "valid thru",
        "支払", "付款", "支付", "결제",
        "卡", "カード", "카드", "карт", "Карт", "บัตร", "कार्ड", "بطاقة", "כרטיס", "κάρτα",
    ]),
    (Hint::Ssn, &[
        "ssn", "social security", "social sec", "soc sec", "socialsecurity", "taxpayer", "tax payer", "tax_payer",
    ]),
    (Hint::Id, &[
        "id", "ids", "uid", "uuid", "guid", "oid", "order", "orders", "po", "purchase order", "ref", "reference", "referenz",
        "référence", "referencia", "riferimento", "invoice", "rechnung", "rechnungsnummer", "rechnungsnr",
        "bestellung", "bestellnummer", "bestellnr", "auftrag", "auftragsnummer", "auftragsnr", "kundennummer",
        "kundennr", "kd-nr", "kdnr", "artikel", "artikelnummer", "artikelnr", "commande", "facture", "pedido",
        "factura", "fattura", "ordine", "fatura", "encomenda", "zamówienie", "zamówienia", "faktura", "faktury",
        "tracking", "sendung", "sendungsnummer", "shipment", "parcel", "colis", "envío", "spedizione",
        "przesyłka", "przesyłki", "ticket", "sku", "ean", "isbn", "issn", "gtin", "upc", "asin", "barcode", "imei", "iccid",
        "build", "commit", "hash", "checksum", "crc", "trace", "span", "txn", "timestamp", "epoch", "ts", "unix", "seq", "sequence",
        "offset", "bytes", "size", "count", "total", "amount", "pid", "tid", "port", "vat", "ust", "steuernummer", "steuernr",
        "nip", "regon", "siret", "siren", "cnpj", "cpf", "nif", "cif", "kvk", "hrb", "ein", "abn", "tin", "cuit",
        "partita iva", "p.iva", "p. iva", "dni", "zip", "plz", "postcode", "coordinates", "lat", "lng", "lon", "latitude",
        "longitude", "gps", "version",
        "订单", "訂單", "编号", "編號", "单号", "單號", "快递", "运单", "发票", "注文", "伝票", "請求書", "会員", "追跡",
        "주문", "송장", "운송장", "заказ", "Заказ", "счёт", "счет", "накладн", "артикул", "инн", "ИНН", "огрн", "ОГРН",
        "คำสั่งซื้อ", "ใบแจ้งหนี้",
    ]),
    (Hint::Serial, &[
        "serial", "seriennummer", "licence", "license", "lizenz", "licencia", "licenza", "licencja", "voucher",
        "gutschein", "coupon", "gift", "product key", "activation",
    ]),
    (Hint::Number, &[
        "contact", "kontakt", "contacto", "contatto", "contato", "number", "num", "no", "nr", "nummer", "numéro", "numero", "número", "numer", "n°", "nº", "№", "номер",
        "Номер", "号码", "號碼", "番号", "번호",
    ]),
    (Hint::Thing, &[
        "customer", "client", "cliente", "kunden", "klient", "account", "konto", "contract", "vertrag", "vertrags",
        "contrat", "contrato", "member", "mitglieds", "policy", "transaction", "request", "session", "part",
        "article", "case", "job", "device", "item", "batch", "user", "vorgang", "vorgangs", "dossier", "claim",
        "expediente", "pratica", "sprawa", "processo", "protocolo", "工单", "受付", "booking", "buchung", "buchungs", "reservation", "客户", "会员", "고객", "клиент", "договор",
    ]),
    (Hint::MessageId, &[
        "message-id", "in-reply-to", "references", "ssh", "scp", "rsync", "sftp", "mosh",
    ]),
];
