# The migrations become C text at build time, so that the program carries them and the .sql files stay the only source.
file(GLOB migrations CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/store/migrations/*.sql)
set(migrations_c ${PROJECT_BINARY_DIR}/generated/store/migrations.c)
string(REPLACE ";" "," migrations_list "${migrations}")
add_custom_command(
  OUTPUT ${migrations_c}
  COMMAND ${CMAKE_COMMAND} -DOUTPUT=${migrations_c} -DINPUTS=${migrations_list}
          -P ${PROJECT_SOURCE_DIR}/src/store/embed_migrations.cmake
  DEPENDS ${migrations} ${PROJECT_SOURCE_DIR}/src/store/embed_migrations.cmake
  COMMENT "Embedding the store's migrations" VERBATIM)
target_sources(kvat_store PRIVATE ${migrations_c})
target_link_libraries(kvat_store PUBLIC m)
