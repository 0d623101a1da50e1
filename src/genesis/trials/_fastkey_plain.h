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

static inline char *
put_digits(char *at, uint64_t number, int width)
{
    char digits[20];
    int first = 20;
    do {
        digits[--first] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0 || first > 20 - width);
    for (; first < 20; first++) {
        *at++ = digits[first];
    }
    return at;
}

static int
write_float(Plain *out, double value)
{
#if FLT_EVAL_METHOD == 0
    static const double POWER[] = {1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10};
    static const uint64_t WHOLE[] = {1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000, 1000000000,
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
        uint64_t number = (uint64_t)scaled;
        if ((double)number != scaled || scaled / POWER[decimals] != size) {
            continue;
        }
        while (decimals > 1 && number % 10 == 0) { /* found late, since the product before it was rounded */
            number /= 10;
            decimals--;
        }
        const uint64_t whole = (uint64_t)size;
        char *at = out->at;
        if (value < 0) {
            *at++ = '-';
        }
        at = put_digits(at, whole, 1);
        *at++ = '.';
        out->at = put_digits(at, number - whole * WHOLE[decimals], decimals);
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
    out->at = put_digits(out->at, number < 0 ? 0 - (uint64_t)number : (uint64_t)number, 1);
    return 1;
}

/* Not 0 if one of the eight bytes is 0. */
static inline uint64_t
zero_bytes(uint64_t word)
{
    return (word - EACH(0x01)) & ~word & EACH(0x80);
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
    memcpy(at, text, (size_t)length);
    memset(at + length, 'a', 8); /* the last word is read whole: there is room */
    for (Py_ssize_t i = 0; i < length; i += 8) {
        uint64_t word;
        memcpy(&word, at + i, 8);
        escapes |= zero_bytes(word ^ EACH('"')) | zero_bytes(word ^ EACH('\\')) | zero_bytes(word & EACH(0xE0));
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
    } items[PLAIN_KEYS], item;
    PyObject *key;
    Py_ssize_t position = 0;
    int count = 0;

    if (PyDict_GET_SIZE(node) > PLAIN_KEYS) {
        return 0;
    }
    while (PyDict_Next(node, &position, &key, &item.value)) {
        int place = count;
        FETCH(item.value);
        if (count == PLAIN_KEYS || (item.text = ascii_text(key, &item.length)) == NULL) {
            return 0;
        }
        for (; place > 0; place--) { /* sorted as it comes: most mappings are nearly in order */
            const Py_ssize_t before = items[place - 1].length;
            int order = items[place - 1].text[0] - item.text[0];
            if (order == 0) {
                order = memcmp(items[place - 1].text, item.text, (size_t)Py_MIN(before, item.length));
            }
            if (order < 0 || (order == 0 && before < item.length)) {
                break;
            }
            items[place] = items[place - 1];
        }
        items[place] = item;
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
