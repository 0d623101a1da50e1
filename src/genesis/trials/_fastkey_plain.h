/* The canonical bytes of the plainest parameter sets, which most are: ASCII text without escapes, 64-bit integers,
   floats of few decimals, lists and mappings of these. Anything else is left to orjson.

   A float is written if it is the nearest one to a decimal of at most 15 digits. There is one such decimal at most (two
   of 15 digits are never nearest to one float), so it is the shortest text that reads back the same, as the canonical
   bytes ask. That it is nearest is checked by one division of two exact numbers, which IEEE 754 rounds correctly. */

#ifndef GENESIS_PLAIN_H
#define GENESIS_PLAIN_H

#include <Python.h>
#include <float.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

enum { PLAIN_BYTES = 2048, PLAIN_DEPTH = 16, PLAIN_KEYS = 32, PLAIN_DECIMALS = 10 };

/* Thousands of sets do not fit the near caches, and then most of the time is waiting for one value after the other: all
   of a mapping are asked for at once. */
#if defined(__GNUC__) || defined(__clang__)
#define FETCH(address) __builtin_prefetch(address)
#else
#define FETCH(address) ((void)(address))
#endif

#define EACH(byte) (UINT64_C(0x0101010101010101) * (byte))

typedef struct {
    char *at, *end; /* what is written next, and where there is no more room */
} Plain;

/* Beyond `bytes`, room for any one number (22 at most) and for what closes every level above it (18). */
static inline int
has_room(const Plain *out, Py_ssize_t bytes)
{
    return out->end - out->at > bytes + 64;
}

/* The last `width` digits of a number. */
static inline char *
put_digits(char *at, uint64_t number, int width)
{
    static const char PAIRS[] = "00010203040506070809101112131415161718192021222324252627282930313233343536373839"
                                "40414243444546474849505152535455565758596061626364656667686970717273747576777879"
                                "8081828384858687888990919293949596979899";
    int left = width;
    for (; left >= 2; left -= 2) {
        memcpy(at + left - 2, PAIRS + 2 * (number % 100), 2);
        number /= 100;
    }
    if (left > 0) {
        *at = (char)('0' + number % 10);
    }
    return at + width;
}

static inline char *
put_number(char *at, uint64_t number)
{
    int width = 1;
    for (uint64_t rest = number; rest >= 10; rest /= 10) {
        width++;
    }
    return put_digits(at, number, width);
}

static int
write_float(Plain *out, double value)
{
#if FLT_EVAL_METHOD == 0
    static const double POWER[] = {1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10};
    static const int64_t WHOLE[] = {1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000, 1000000000,
                                     10000000000};
    const double size = fabs(value);
    if (!(size >= 1e-4 && size < 1e15)) { /* also 0.0, -0.0 and NaN */
        if (value != 0.0 || signbit(value)) {
            return 0;
        }
        memcpy(out->at, "0.0", 3);
        out->at += 3;
        return 1;
    }
    for (int decimals = 0; decimals <= PLAIN_DECIMALS; decimals++) {
        const double scaled = size * POWER[decimals];
        if (scaled >= 1e15) {
            return 0;
        }
        int64_t number = (int64_t)scaled; /* signed: one instruction each way */
        if ((double)number != scaled || scaled / POWER[decimals] != size) {
            continue;
        }
        while (decimals > 1 && number % 10 == 0) { /* found late, since the product before it was rounded */
            number /= 10;
            decimals--;
        }
        const int64_t whole = (int64_t)size;
        char *at = out->at;
        if (value < 0) {
            *at++ = '-';
        }
        at = put_number(at, (uint64_t)whole);
        *at++ = '.';
        out->at = put_digits(at, (uint64_t)(number - whole * WHOLE[decimals]), decimals > 0 ? decimals : 1);
        return 1;
    }
#else
    (void)out, (void)value;
#endif
    return 0;
}

static int
write_integer(Plain *out, PyObject *value)
{
    int overflow;
    const long long number = PyLong_AsLongLongAndOverflow(value, &overflow);
    if (overflow) {
        return 0;
    }
    if (number < 0) {
        *out->at++ = '-';
    }
    out->at = put_number(out->at, number < 0 ? 0 - (uint64_t)number : (uint64_t)number);
    return 1;
}

/* Bits of 0x80 if one of eight bytes of ASCII is to be escaped. */
static inline uint64_t
escapes_in(uint64_t word)
{
    return ((word - EACH(0x20)) | ((word ^ EACH('"')) - EACH(0x01)) | ((word ^ EACH('\\')) - EACH(0x01))) & EACH(0x80);
}

static inline uint64_t
copy_word(char *to, const char *from)
{
    uint64_t word;
    memcpy(&word, from, 8);
    memcpy(to, &word, 8);
    return escapes_in(word);
}

static inline uint64_t
copy_half_word(char *to, const char *from)
{
    uint32_t half;
    memcpy(&half, from, 4);
    memcpy(to, &half, 4);
    return escapes_in(half | EACH(0x40) << 32);
}

static int
write_text(Plain *out, const char *text, Py_ssize_t length)
{
    if (!has_room(out, length)) {
        return 0;
    }
    char *at = out->at;
    uint64_t escapes = 0;
    *at++ = '"';
    if (length >= 8) {
        for (Py_ssize_t i = 0; i < length - 8; i += 8) {
            escapes |= copy_word(at + i, text + i);
        }
        escapes |= copy_word(at + length - 8, text + length - 8); /* some of it for the second time */
    }
    else if (length >= 4) {
        escapes = copy_half_word(at, text) | copy_half_word(at + length - 4, text + length - 4);
    }
    else {
        uint64_t word = EACH(0x40);
        for (Py_ssize_t i = 0; i < length; i++) {
            at[i] = text[i];
            word = word << 8 | (unsigned char)text[i];
        }
        escapes = escapes_in(word);
    }
    at[length] = '"';
    out->at = at + length + 1;
    return escapes == 0;
}

/* The characters of a str that is ASCII, or NULL. */
static inline const char *
ascii_text(PyObject *node, Py_ssize_t *length)
{
    if (!PyUnicode_CheckExact(node) || !PyUnicode_IS_COMPACT_ASCII(node)) {
        return NULL;
    }
    *length = PyUnicode_GET_LENGTH(node);
    return (const char *)PyUnicode_1BYTE_DATA(node);
}

static int write_plain(Plain *out, PyObject *node, int depth);

static int
write_mapping(Plain *out, PyObject *node, int depth)
{
    struct {
        const char *text;
        Py_ssize_t length;
        PyObject *value;
    } items[PLAIN_KEYS];
    PyObject *key, *value;
    Py_ssize_t position = 0, length;
    int count = 0;

    if (PyDict_GET_SIZE(node) > PLAIN_KEYS) {
        return 0;
    }
    while (PyDict_Next(node, &position, &key, &value)) {
        int place = count;
        const char *text;
        FETCH(value);
        if (count == PLAIN_KEYS || (text = ascii_text(key, &length)) == NULL) {
            return 0;
        }
        for (; place > 0; place--) { /* sorted as it comes: most mappings are nearly in order */
            const Py_ssize_t before = items[place - 1].length;
            int order = items[place - 1].text[0] - text[0];
            if (order == 0) {
                order = memcmp(items[place - 1].text, text, (size_t)Py_MIN(before, length));
            }
            if (order < 0 || (order == 0 && before < length)) {
                break;
            }
            items[place] = items[place - 1];
        }
        /* Each for itself: a struct filled field by field and copied at once makes the processor wait for the fields. */
        items[place].text = text;
        items[place].length = length;
        items[place].value = value;
        count++;
    }
    for (int i = 0; i < count; i++) {
        if (PyDict_CheckExact(items[i].value)) {
            FETCH(((PyDictObject *)items[i].value)->ma_keys);
        }
    }
    *out->at++ = '{';
    for (int i = 0; i < count; i++) {
        if (!write_text(out, items[i].text, items[i].length)) {
            return 0;
        }
        *out->at++ = ':';
        if (!write_plain(out, items[i].value, depth + 1)) {
            return 0;
        }
        *out->at++ = ',';
    }
    out->at -= count > 0; /* the last comma */
    *out->at++ = '}';
    return 1;
}

static int
write_sequence(Plain *out, PyObject *node, int depth)
{
    const Py_ssize_t count = PySequence_Fast_GET_SIZE(node);
    *out->at++ = '[';
    for (Py_ssize_t i = 0; i < count; i++) {
        if (!write_plain(out, PySequence_Fast_GET_ITEM(node, i), depth + 1)) {
            return 0;
        }
        *out->at++ = ',';
    }
    out->at -= count > 0;
    *out->at++ = ']';
    return 1;
}

/* 0 for what is not plain, and what was written then is worth nothing. */
static int
write_plain(Plain *out, PyObject *node, int depth)
{
    Py_ssize_t length;
    const char *text;
    if (depth > PLAIN_DEPTH || !has_room(out, 0)) {
        return 0;
    }
    if (PyFloat_CheckExact(node)) {
        return write_float(out, PyFloat_AS_DOUBLE(node));
    }
    if (PyLong_CheckExact(node)) {
        return write_integer(out, node);
    }
    if ((text = ascii_text(node, &length)) != NULL) {
        return write_text(out, text, length);
    }
    if (PyDict_CheckExact(node)) {
        return write_mapping(out, node, depth);
    }
    if (PyList_CheckExact(node) || PyTuple_CheckExact(node)) {
        return write_sequence(out, node, depth);
    }
    if (node == Py_None || PyBool_Check(node)) {
        text = node == Py_None ? "null" : node == Py_True ? "true" : "false";
        length = node == Py_False ? 5 : 4;
        memcpy(out->at, text, (size_t)length);
        out->at += length;
        return 1;
    }
    return 0;
}

/* The canonical bytes as a new object; NULL, mostly without an exception, if they are not for this file. */
static PyObject *
plain_bytes(PyObject *params)
{
    char text[PLAIN_BYTES];
    Plain out = {text, text + PLAIN_BYTES};
    if (!PyDict_CheckExact(params) || !write_plain(&out, params, 0)) {
        return NULL;
    }
    return PyBytes_FromStringAndSize(text, out.at - text);
}

#endif
