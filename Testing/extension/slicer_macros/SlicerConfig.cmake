# Slicer without a build of it, with Slicer's own macros for scripted modules: give SLICER_SOURCE_DIR, a checkout of Slicer/Slicer, and
# CTK_SOURCE_DIR, one of commontk/CTK. What UseSlicer.cmake would set is set here; the tests of the modules run in SLICER_LAUNCHER.
set(CTK_CMAKE_DIR ${CTK_SOURCE_DIR}/CMake)
list(PREPEND CMAKE_MODULE_PATH ${SLICER_SOURCE_DIR}/CMake ${CTK_CMAKE_DIR})

set(Slicer_USE_FILE ${CMAKE_CURRENT_LIST_DIR}/UseSlicer.cmake)
set(Slicer_EXTENSION_GENERATE_CONFIG ${CMAKE_CURRENT_LIST_DIR}/../slicer_stub/metadata.cmake)
set(Slicer_EXTENSION_CPACK ${CMAKE_CURRENT_LIST_DIR}/../slicer_stub/nothing.cmake)
set(Slicer_USE_PYTHONQT ON)
set(Slicer_LAUNCHER_EXECUTABLE ${SLICER_LAUNCHER})
set(Slicer_PYTHON_MODULE_TEST_TEMPLATES_DIR ${SLICER_SOURCE_DIR}/Base/QTCore/Testing/Python)
set(Slicer_ExternalData_DATA_MANAGEMENT_TARGET SyntheXData)
foreach(kind QTSCRIPTEDMODULES QTLOADABLEMODULES CLIMODULES)
  string(TOLOWER ${kind} folder)
  string(REPLACE "modules" "-modules" folder ${folder})
  string(REPLACE "qt" "qt-" folder ${folder})
  set(Slicer_${kind}_LIB_DIR lib/Slicer-5.12/${folder})
  set(Slicer_INSTALL_${kind}_LIB_DIR ${Slicer_${kind}_LIB_DIR})
endforeach()

# The interpreter that compiles the files, and where its library would be, which an interpreter outside Slicer finds by itself.
set(PYTHONINTERP_FOUND TRUE)
set(PYTHONLIBS_FOUND TRUE)
set(PYTHON_LIBRARIES ${PYTHON_EXECUTABLE})
