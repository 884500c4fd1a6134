"""Verdicts of libspf2, by ctypes, on a DNS held in its own zone layer: no server, no lookups.

    python3 libspf2.py [LIBRARY] <cases.json

reads ``{"zone": {name: {type: [values]}}, "cases": [[address, domain], ...]}`` and prints a list of results. It runs where
libspf2 is installed (Debian's package libspf2-2), on the standard library alone.
"""

import ctypes
import json
import sys

# "invalid" (0) is how it leaves a record that it could not read: SPF_strresult says "(invalid)", and no receiver passes it
RESULTS = ["permerror", "neutral", "pass", "fail", "softfail", "none", "temperror", "permerror"]
TYPES = {"A": 1, "MX": 15, "TXT": 16, "AAAA": 28, "PTR": 12}
FOUND, HOST_NOT_FOUND, NO_DATA = 0, 1, 4


def main() -> None:
    given = json.load(sys.stdin)
    lib = ctypes.CDLL(sys.argv[1] if len(sys.argv) > 1 else "libspf2.so.2")
    for name in ("SPF_dns_zone_new", "SPF_server_new_dns", "SPF_request_new"):
        getattr(lib, name).restype = ctypes.c_void_p
    pointer = ctypes.c_void_p
    lib.SPF_dns_zone_new.argtypes = [pointer, ctypes.c_char_p, ctypes.c_int]
    lib.SPF_dns_zone_add_str.argtypes = [pointer, ctypes.c_char_p, ctypes.c_int, ctypes.c_int, ctypes.c_char_p]
    lib.SPF_server_new_dns.argtypes = [pointer, ctypes.c_int]
    lib.SPF_request_new.argtypes = [pointer]
    for name in ("ipv4_str", "ipv6_str", "helo_dom", "env_from"):
        getattr(lib, f"SPF_request_set_{name}").argtypes = [pointer, ctypes.c_char_p]
    lib.SPF_request_query_mailfrom.argtypes = [pointer, ctypes.POINTER(pointer)]
    for name in ("SPF_response_result", "SPF_response_free", "SPF_request_free"):
        getattr(lib, name).argtypes = [pointer]
    zone = lib.SPF_dns_zone_new(None, b"cases", 0)
    for name, types in given["zone"].items():
        for rtype, values in types.items():
            for value in values if rtype in TYPES else ():
                # its zone layer takes an MX without the preference
                data = value.split()[-1] if rtype == "MX" else value
                lib.SPF_dns_zone_add_str(zone, name.encode(), TYPES[rtype], FOUND, data.encode())
    server = lib.SPF_server_new_dns(zone, 0)
    results = []
    for address, domain in given["cases"]:
        request, response = lib.SPF_request_new(server), pointer()
        (lib.SPF_request_set_ipv6_str if ":" in address else lib.SPF_request_set_ipv4_str)(request, address.encode())
        lib.SPF_request_set_helo_dom(request, b"mail.sender.example")
        lib.SPF_request_set_env_from(request, f"app@{domain}".encode())
        lib.SPF_request_query_mailfrom(request, ctypes.byref(response))
        results.append(RESULTS[lib.SPF_response_result(response)])
        lib.SPF_response_free(response)
        lib.SPF_request_free(request)
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    main()
