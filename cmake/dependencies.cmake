# SPDX-License-Identifier: Apache-2.0
# Debian 12: libevent-dev libssl-dev libhiredis-dev libpq-dev libconfig-dev libcjose-dev libjansson-dev libcriterion-dev pkg-config
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
pkg_check_modules(EVENT REQUIRED IMPORTED_TARGET libevent_core libevent_extra)
pkg_check_modules(CRYPTO REQUIRED IMPORTED_TARGET libcrypto)
pkg_check_modules(SSL REQUIRED IMPORTED_TARGET libssl)
pkg_check_modules(NGHTTP2 REQUIRED IMPORTED_TARGET libnghttp2)
pkg_check_modules(HIREDIS REQUIRED IMPORTED_TARGET hiredis)
# Its header alone: the library is loaded when a store asks for it (proxy/net/postgres_library.c).
pkg_check_modules(POSTGRES REQUIRED libpq)
add_library(lethe_libpq_header INTERFACE)
target_include_directories(lethe_libpq_header SYSTEM INTERFACE ${POSTGRES_INCLUDE_DIRS})
target_link_libraries(lethe_libpq_header INTERFACE ${CMAKE_DL_LIBS})
# libcjose makes and reads JWE and JWS (all but EdDSA, which OpenSSL does), libjansson their claims.
pkg_check_modules(JOSE REQUIRED IMPORTED_TARGET cjose jansson)
pkg_check_modules(LIBCONFIG REQUIRED IMPORTED_TARGET libconfig)
if(LETHE_TESTS)
  pkg_check_modules(CRITERION REQUIRED IMPORTED_TARGET criterion)
  enable_testing()
endif()
