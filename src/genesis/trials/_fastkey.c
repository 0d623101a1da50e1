/* Trial keys and signatures: the usual case of `genesis.trials.identity`, without the interpreter in between.

   `identity.py` defines every answer. A `Keyed` object stands before one of its functions: it writes the parameters, or
   has orjson do it if they are not of the plainest, looks the bytes up in that function's own cache and, for a set it has
   not met, hashes them. Whatever is unusual (a type orjson refuses, a float to be rounded, -0.0, a long text, a cache to
   be trimmed, odd arguments) is handed to the Python function as it came: there is one place for rules and for errors.

   The interpreter's lock is held throughout; nothing here runs code of the caller. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>

#include <math.h>
#include <string.h>

#include "_fastkey_plain.h"
#include "_fastkey_sha256.h"

#ifndef GENESIS_SOURCE /* the checksum of the source, given by hatch_build.py: a stale build is not used */
#define GENESIS_SOURCE 0
#endif

/* ------------------------------------------------------------------------------- what the bytes must be screened for
   Each may be wrong about text inside a string: the Python function then finds nothing to do, and says the same. */

static inline int
is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* JSON's null: a None, or a NaN that orjson hides. The text starts with a brace, so what stands before `u` is there. */
static int
has_null(const char *bytes, const char *end)
{
    for (const char *at = bytes; (at = memchr(at, 'u', (size_t)(end - at))) != NULL; at++) {
        if (end - at > 3 && memcmp(at - 1, "null", 4) == 0) {
            return 1;
        }
    }
    return 0;
}

static int
has_negative_zero(const char *bytes, const char *end)
{
    for (const char *at = bytes; (at = memchr(at, '-', (size_t)(end - at))) != NULL; at++) {
        if (end - at > 4 && memcmp(at, "-0.0", 4) == 0 && !is_digit(at[4])) {
            return 1;
        }
    }
    return 0;
}

/* True for 1e-7. (The canonical bytes sign every exponent, and a float with a positive one has no decimals.) */
static int
has_negative_exponent(const char *bytes, const char *end)
{
    for (const char *at = bytes; (at = memchr(at, '-', (size_t)(end - at))) != NULL; at++) {
        if (at - bytes > 2 && at[-1] == 'e' && is_digit(at[-2])) {
            return 1;
        }
    }
    return 0;
}

/* True if more than `decimals` digits follow a point. */
static int
has_long_fraction(const char *bytes, const char *end, Py_ssize_t decimals)
{
    for (const char *at = bytes; (at = memchr(at, '.', (size_t)(end - at))) != NULL; at++) {
        Py_ssize_t left = decimals + 1;
        if (end - at > left && is_digit(at[left])) { /* the farthest first: most fractions are short */
            while (--left > 0 && is_digit(at[left])) {
            }
            if (left == 0) {
                return 1;
            }
        }
    }
    return 0;
}

/* False if a float in the tree is NaN or infinite, and for types that orjson may take for others. orjson has written
   the tree, so it is no deeper than orjson goes (254). */
static int
is_plain_and_finite(PyObject *node)
{
    if (PyFloat_CheckExact(node)) {
        return isfinite(PyFloat_AS_DOUBLE(node));
    }
    if (PyDict_CheckExact(node)) {
        PyObject *value;
        Py_ssize_t position = 0;
        while (PyDict_Next(node, &position, NULL, &value)) {
            if (!is_plain_and_finite(value)) {
                return 0;
            }
        }
        return 1;
    }
    if (PyList_CheckExact(node) || PyTuple_CheckExact(node)) {
        for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(node); i++) {
            if (!is_plain_and_finite(PySequence_Fast_GET_ITEM(node, i))) {
                return 0;
            }
        }
        return 1;
    }
    return node == Py_None || PyUnicode_CheckExact(node) || PyLong_CheckExact(node) || PyBool_Check(node);
}

/* ---------------------------------------------------------------------------------------------------- the Keyed type */

typedef struct {
    PyObject_HEAD
    vectorcallfunc call;
    PyObject *attributes; /* __wrapped__, __doc__ and the like, for functools.update_wrapper */
    PyObject *function;   /* the Python function that defines the answers */
    PyObject *dumps;      /* orjson.dumps */
    PyObject *options;    /* and the options it is called with */
    PyObject *cache;      /* the function's own: {bytes: key} */
    PyObject *precision;  /* of a signature: the second argument this object knows; NULL for a trial key */
    Py_ssize_t decimals;  /* the same as a number; -1 for a trial key */
    Py_ssize_t limit;     /* how many entries the cache may hold before the Python function trims it */
    Py_ssize_t longest;   /* text longer than this is not kept */
} Keyed;

/* The key as a new reference; NULL without an exception if this is one for the Python function. */
static PyObject *
usual_key(Keyed *self, PyObject *params)
{
    PyObject *raw = plain_bytes(params);
    const int own = raw != NULL;
    if (raw == NULL && !PyErr_Occurred()) {
        PyObject *arguments[] = {NULL, params, Py_None, self->options};
        raw = PyObject_Vectorcall(self->dumps, arguments + 1, 3 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
    }
    if (raw == NULL) {
        if (PyErr_ExceptionMatches(PyExc_TypeError)) {
            PyErr_Clear();
        }
        return NULL;
    }
    PyObject *key = PyBytes_CheckExact(raw) ? PyDict_GetItemWithError(self->cache, raw) : NULL;
    if (key != NULL) {
        Py_INCREF(key);
        Py_DECREF(raw);
        return key;
    }
    if (PyErr_Occurred() || !PyBytes_CheckExact(raw)) {
        Py_DECREF(raw);
        return NULL;
    }
    const Py_ssize_t length = PyBytes_GET_SIZE(raw);
    const char *bytes = PyBytes_AS_STRING(raw), *end = bytes + length;
    int odd = length > self->longest || PyDict_GET_SIZE(self->cache) >= self->limit;
    if (!own) { /* what this module wrote is a mapping and has no -0.0 */
        odd = odd || bytes[0] != '{' || has_negative_zero(bytes, end);
    }
    if (self->decimals >= 0 && !(own && self->decimals >= PLAIN_DECIMALS)) { /* nor an exponent, nor more decimals */
        odd = odd || has_long_fraction(bytes, end, self->decimals) || has_negative_exponent(bytes, end);
    }
    const int null = !odd && has_null(bytes, end);
    if (!odd && !(null && !is_plain_and_finite(params))) {
        key = hex_of_sha256(compress_here, bytes, length);
    }
    if (key != NULL && !null) { /* text with a null is never kept: a NaN would be found under it */
        /* orjson's bytes sit in a buffer of 1 KiB: of them a copy is kept. */
        PyObject *kept = own ? Py_NewRef(raw) : PyBytes_FromStringAndSize(bytes, length);
        if (kept == NULL || PyDict_SetItem(self->cache, kept, key) < 0) {
            Py_CLEAR(key);
        }
        Py_XDECREF(kept);
    }
    Py_DECREF(raw);
    return key;
}

static PyObject *
keyed_call(PyObject *callable, PyObject *const *arguments, size_t nargsf, PyObject *names)
{
    Keyed *self = (Keyed *)callable;
    const Py_ssize_t given = PyVectorcall_NARGS(nargsf);
    if (names == NULL && (given == 1 || (given == 2 && arguments[1] == self->precision))) {
        PyObject *key = usual_key(self, arguments[0]);
        if (key != NULL || PyErr_Occurred()) {
            return key;
        }
    }
    return PyObject_Vectorcall(self->function, arguments, nargsf, names);
}

static PyObject *
keyed_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"function", "dumps", "options", "cache", "limit", "longest", "precision", NULL};
    PyObject *function, *dumps, *options, *cache, *precision;
    Py_ssize_t limit, longest, decimals = -1;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OOOO!nnO:Keyed", names, &function, &dumps, &options, &PyDict_Type,
                                     &cache, &limit, &longest, &precision)) {
        return NULL;
    }
    if (precision != Py_None) {
        decimals = PyLong_AsSsize_t(precision);
        if (decimals == -1 && PyErr_Occurred()) {
            return NULL;
        }
        if (decimals < 0 || decimals > 20) { /* beyond, a short fraction may not be its own rounding: identity.py */
            return PyErr_Format(PyExc_ValueError, "precision: %zd is not from 0 to 20", decimals);
        }
    }
    Keyed *self = (Keyed *)type->tp_alloc(type, 0);
    if (self != NULL) {
        self->call = keyed_call;
        self->function = Py_NewRef(function);
        self->dumps = Py_NewRef(dumps);
        self->options = Py_NewRef(options);
        self->cache = Py_NewRef(cache);
        self->precision = precision == Py_None ? NULL : Py_NewRef(precision);
        self->decimals = decimals;
        self->limit = limit;
        self->longest = longest;
    }
    return (PyObject *)self;
}

static int
keyed_traverse(PyObject *object, visitproc visit, void *arg)
{
    Keyed *self = (Keyed *)object;
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(self->attributes);
    Py_VISIT(self->function);
    Py_VISIT(self->dumps);
    Py_VISIT(self->options);
    Py_VISIT(self->cache);
    Py_VISIT(self->precision);
    return 0;
}

/* What a call needs stays until the end, so that no call meets a hole; any cycle goes through the attributes, or
   through the globals of `function`, which the collector clears itself. */
static int
keyed_clear(PyObject *object)
{
    Py_CLEAR(((Keyed *)object)->attributes);
    return 0;
}

static void
keyed_dealloc(PyObject *object)
{
    Keyed *self = (Keyed *)object;
    PyTypeObject *type = Py_TYPE(object);
    PyObject_GC_UnTrack(object);
    (void)keyed_clear(object);
    Py_DECREF(self->function);
    Py_DECREF(self->dumps);
    Py_DECREF(self->options);
    Py_DECREF(self->cache);
    Py_XDECREF(self->precision);
    type->tp_free(object);
    Py_DECREF(type);
}

/* Pickled by name, as a function is. */
static PyObject *
keyed_reduce(PyObject *self, PyObject *Py_UNUSED(nothing))
{
    return PyObject_GetAttrString(self, "__qualname__");
}

static PyMethodDef keyed_methods[] = {
    {"__reduce__", keyed_reduce, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};
static PyGetSetDef keyed_attributes[] = {
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};
static PyMemberDef keyed_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(Keyed, call), READONLY, NULL},
    {"__dictoffset__", T_PYSSIZET, offsetof(Keyed, attributes), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};
static PyType_Slot keyed_slots[] = {
    {Py_tp_doc, (char *)"Stands before a function of genesis.trials.identity and answers the usual calls itself."},
    {Py_tp_new, keyed_new},
    {Py_tp_call, PyVectorcall_Call},
    {Py_tp_traverse, keyed_traverse},
    {Py_tp_clear, keyed_clear},
    {Py_tp_dealloc, keyed_dealloc},
    {Py_tp_methods, keyed_methods},
    {Py_tp_getset, keyed_attributes},
    {Py_tp_members, keyed_members},
    {0, NULL},
};
static PyType_Spec keyed_spec = {
    .name = "genesis.trials._fastkey.Keyed",
    .basicsize = sizeof(Keyed),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL,
    .slots = keyed_slots,
};

/* -------------------------------------------------------------------------------------------------------- the module */

/* sha256(data, portable): the hash as the keys are hashed, or by the code for any processor; for checks. */
static PyObject *
module_sha256(PyObject *Py_UNUSED(module), PyObject *args)
{
    const char *bytes;
    Py_ssize_t length;
    int portable;
    if (!PyArg_ParseTuple(args, "y#p:sha256", &bytes, &length, &portable)) {
        return NULL;
    }
    return hex_of_sha256(portable ? compress_portable : compress_here, bytes, length);
}

static int
module_exec(PyObject *module)
{
#ifdef HAVE_SHA_INSTRUCTIONS
    if (has_sha_instructions()) {
        compress_here = compress_instructions;
    }
#endif
    PyObject *type = PyType_FromModuleAndSpec(module, &keyed_spec, NULL);
    if (type == NULL || PyModule_AddType(module, (PyTypeObject *)type) < 0) {
        Py_XDECREF(type);
        return -1;
    }
    Py_DECREF(type);
    PyObject *instructions = compress_here == compress_portable ? Py_False : Py_True;
    if (PyModule_AddObjectRef(module, "INSTRUCTIONS", instructions) < 0) {
        return -1;
    }
    return PyModule_AddIntConstant(module, "SOURCE", GENESIS_SOURCE);
}

static PyMethodDef module_functions[] = {
    {"sha256", module_sha256, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};
static PyModuleDef_Slot module_slots[] = {{Py_mod_exec, module_exec}, {0, NULL}};
static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "genesis.trials._fastkey",
    .m_doc = "Trial keys and signatures in C; see genesis.trials.compiled.",
    .m_methods = module_functions,
    .m_slots = module_slots,
};

PyMODINIT_FUNC
PyInit__fastkey(void)
{
    return PyModuleDef_Init(&module);
}
